"""Timers: each has its fd from the start, when fds can be had, and needs none to be set later."""

from libc.errno cimport errno
from libc.stdint cimport int64_t
from libc.string cimport memset

from conmon.core.kernel cimport (
    CLOCK_MONOTONIC, EPOLLIN, TFD_CLOEXEC, TFD_NONBLOCK, itimerspec, read, timerfd_create,
    timerfd_settime,
)
from conmon.core.loop cimport watch
from conmon.core.state cimport Monitor, Source


cdef inline int timer_open(Monitor* m, Source* timer) noexcept nogil:
    """Make a timer that is not set yet; 0 or -errno."""
    timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
    if timer.fd < 0:
        return -errno
    return watch(m, timer, EPOLLIN)


cdef inline void timer_set(const Source* timer, int64_t first_us, int64_t then_us) noexcept nogil:
    """Have it fire once, and every `then_us` after that if this is not 0. 0, 0: not any more."""
    cdef itimerspec when
    memset(&when, 0, sizeof(when))
    when.it_value.tv_sec = first_us // 1000000
    when.it_value.tv_nsec = first_us % 1000000 * 1000
    when.it_interval.tv_sec = then_us // 1000000
    when.it_interval.tv_nsec = then_us % 1000000 * 1000
    timerfd_settime(timer.fd, 0, &when, NULL)


cdef inline void timer_read(const Source* timer) noexcept nogil:
    """Take note that it has fired; it would be reported again."""
    cdef char expirations[8]
    read(timer.fd, expirations, sizeof(expirations))
