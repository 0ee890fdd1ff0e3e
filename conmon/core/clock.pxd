"""Times of a clock that nobody sets, and a pause."""

from libc.stdint cimport int64_t

from conmon.core.kernel cimport CLOCK_MONOTONIC, clock_gettime, nanosleep, timespec


cdef inline int64_t now_ms() noexcept nogil:
    """Milliseconds of a clock that nobody sets."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef inline int64_t now_us() noexcept nogil:
    """The same in microseconds."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000 + now.tv_nsec // 1000


cdef inline void pause_ms(int ms) noexcept nogil:
    """Sleep; a signal ends it."""
    cdef timespec pause
    pause.tv_sec = ms // 1000
    pause.tv_nsec = ms % 1000 * 1000000
    nanosleep(&pause, NULL)
