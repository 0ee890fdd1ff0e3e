"""A log that takes no more for now: a fifo, a terminal, a slow device (C21.4).

It is written without blocking. What it does not take waits in the log's queue, and epoll tells
when it takes more; until then the container's streams are not read, and all else goes on. A
regular file is never waited for, nor is a device that epoll does not know, such as /dev/null:
these are written as they are, until write(2) returns.
"""

from conmon.core.kernel cimport (
    EPOLLOUT, F_GETFL, F_SETFL, O_NONBLOCK, S_ISREG, fcntl, fstat, stat_t,
)
from conmon.core.loop cimport watch
from conmon.core.state cimport Log, Monitor


cdef inline bint is_regular(int fd) noexcept nogil:
    cdef stat_t about
    return fstat(fd, &about) == 0 and S_ISREG(about.st_mode)


cdef inline void log_set_blocking(int fd, bint blocking) noexcept nogil:
    """Nobody else has the log's open file description: conmon opened it itself."""
    cdef int flags = fcntl(fd, F_GETFL)
    fcntl(fd, F_SETFL, flags & ~O_NONBLOCK if blocking else flags | O_NONBLOCK)


cdef inline void log_wait_open(Log* log) noexcept nogil:
    """Have a new `log.fd` waited for, unless it is a regular file."""
    log.source.fd = -1
    log.source.events = 0
    if log.fd >= 0 and not is_regular(log.fd):
        log_set_blocking(log.fd, False)
        log.source.fd = log.fd


cdef inline void log_unstall(Monitor* m) noexcept nogil:
    """Read the streams again."""
    if m.log.stalled:
        m.log.stalled = False
        m.stalled -= 1
        watch(m, &m.log.source, 0)


cdef inline bint log_stall(Monitor* m) noexcept nogil:
    """Wait until the log takes more; False where it must be written to at once, and blocks.

    epoll refuses what is always ready (EPERM), and may have no memory.
    """
    cdef Log* log = &m.log
    if log.stalled:
        return True
    if log.source.fd < 0 or watch(m, &log.source, EPOLLOUT) < 0:
        log.source.fd = -1
        log_set_blocking(log.fd, True)
        return False
    log.stalled = True
    m.stalled += 1
    m.record.counters.log_stalls += 1
    return True
