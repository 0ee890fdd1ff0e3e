"""Timers: moments that the loop wakes up for.

They are the time-out of the wait in loop.pxd, so a timer takes no fd, and setting one cannot fail.
While none is set the loop sleeps for good.
"""

from libc.stdint cimport INT32_MAX, int64_t

from conmon.core.clock cimport now_ms
from conmon.core.state cimport Monitor, Tick, Timer


cdef inline void timer_clear(Monitor* m, Timer* timer) noexcept nogil:
    """Not any more."""
    cdef Timer** link = &m.timers
    while link[0] != NULL and link[0] != timer:
        link = &link[0].next
    if link[0] != NULL:
        link[0] = timer.next


cdef inline void timer_set(Monitor* m, Timer* timer, Tick handle, int64_t ms) noexcept nogil:
    """Have `handle` called once, after `ms` milliseconds, at least one; an earlier time is void."""
    timer_clear(m, timer)
    timer.handle = handle
    timer.at = now_ms() + max(ms, <int64_t>1)
    timer.next = m.timers
    m.timers = timer


cdef inline int timers_left(const Monitor* m, int most) noexcept nogil:
    """Milliseconds until the next one fires, at most `most`; -1 is "never", of both."""
    cdef const Timer* timer = m.timers
    cdef int64_t left
    cdef int64_t now = now_ms() if timer != NULL else 0
    while timer != NULL:
        left = min(max(timer.at - now, <int64_t>0), <int64_t>INT32_MAX)
        if most < 0 or left < most:
            most = <int>left
        timer = timer.next
    return most


cdef inline Timer* timer_due(Monitor* m, int64_t now) noexcept nogil:
    cdef Timer* timer = m.timers
    while timer != NULL and timer.at > now:
        timer = timer.next
    return timer


cdef inline void timers_run(Monitor* m) noexcept nogil:
    """Call what is due. What a handler sets anew is due at another time."""
    cdef Timer* timer
    cdef int64_t now
    if m.timers == NULL:
        return
    now = now_ms()
    timer = timer_due(m, now)
    while timer != NULL:
        timer_clear(m, timer)
        timer.handle(m)
        timer = timer_due(m, now)
