"""What is tried again by the clock, because no fd can be had that would tell.

While the process has no fd left, a client that connects cannot be accepted, and epoll would
report it for ever; and a container that is not our child can have no pidfd, which a kernel
before 5.3 has for nobody. In all other times no clock runs.
"""

from libc.stdint cimport int64_t

from conmon.core.kernel cimport EPOLLIN
from conmon.core.loop cimport now_ms, watch
from conmon.core.reaper cimport stranger_watch
from conmon.core.state cimport Monitor

cdef enum:
    RETRY_AFTER = 250  # ms


cdef inline bint retry_due(const Monitor* m) noexcept nogil:
    return m.starved or m.by_clock


cdef inline void retry(Monitor* m) noexcept nogil:
    """Once in RETRY_AFTER, however busy the loop is."""
    cdef int64_t now
    if not retry_due(m):
        return
    now = now_ms()
    if now < m.retry_at:
        return
    m.retry_at = now + RETRY_AFTER
    if m.starved:
        m.starved = False
        watch(m, &m.listener, EPOLLIN)
    if m.by_clock:
        stranger_watch(m)
        watch(m, &m.pidfd, EPOLLIN)
