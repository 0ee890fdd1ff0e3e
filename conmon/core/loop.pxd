"""epoll: one instance, level-triggered, a Source per fd.

Two facts of epoll(7) shape this file. EPOLLHUP and EPOLLERR are reported whether asked for or
not, so a source that must rest has to leave the set: a zero event mask would spin. And events
of one epoll_wait may name a source that an earlier handler of the same round has closed, so a
Source outlives its round and its handler is skipped when its fd is -1.
"""

from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint32_t

from conmon.core.kernel cimport (
    CLOCK_MONOTONIC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLHUP,
    clock_gettime, close, epoll_ctl, epoll_event, epoll_wait, timespec,
)
from conmon.core.state cimport Handler, Monitor, Source

cdef enum:
    ROUND = 16  # events taken by one epoll_wait


cdef inline int64_t now_ms() noexcept nogil:
    """Milliseconds of a clock that nobody sets."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef inline void source_init(Source* source, int fd, Handler handle) noexcept nogil:
    source.fd = fd
    source.events = 0
    source.handle = handle


cdef inline int watch(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    """Wait for exactly `events` of the source, 0 to let it rest; 0 or -errno."""
    cdef epoll_event event
    cdef int op
    if source.fd < 0 or source.events == events:
        return 0
    if events == 0:
        op = EPOLL_CTL_DEL
    elif source.events == 0:
        op = EPOLL_CTL_ADD
    else:
        op = EPOLL_CTL_MOD
    event.events = events
    event.data.ptr = source
    if epoll_ctl(m.epoll, op, source.fd, &event) < 0:
        return -errno
    source.events = events
    return 0


cdef inline void source_close(Monitor* m, Source* source) noexcept nogil:
    """Stop waiting and close the fd."""
    if source.fd >= 0:
        watch(m, source, 0)
        close(source.fd)
        source.fd = -1


cdef inline int dispatch(Monitor* m, int timeout_ms) noexcept nogil:
    """One round: wait, then call the handlers; the number of events, 0 on time-out."""
    cdef epoll_event events[ROUND]
    cdef Source* source
    cdef uint32_t ready
    cdef int i
    cdef int n = epoll_wait(m.epoll, events, ROUND, timeout_ms)
    m.record.counters.wake_ups += 1
    for i in range(n):
        source = <Source*>events[i].data.ptr
        # an earlier handler of this round may have ended the wait for what has come
        ready = events[i].events & (source.events | EPOLLERR | EPOLLHUP)
        if source.fd >= 0 and source.events != 0 and ready:
            source.handle(m, source, ready)
    return 1 if n < 0 and errno == EINTR else n
