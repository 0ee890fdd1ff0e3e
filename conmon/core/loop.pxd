"""The loop: one wait for all that can happen, level-triggered, a Source per fd.

Three facts of epoll(7) shape this file. EPOLLHUP and EPOLLERR are reported whether asked for or
not, so a source that must rest has to leave the set: a zero event mask would spin. Events of one
wait may name a source that an earlier handler of the same round has closed, so a Source outlives
its round and its handler is skipped when its fd is -1. And epoll_ctl() may fail at any time: for
want of memory, or because other processes of our user have used up fs.epoll.max_user_watches.
poll(2) needs neither, so from then on that is what waits, for the rest of this process; every
source that is armed is in a list of the monitor's for it.
"""

from libc.errno cimport EINTR, ENOMEM, ENOSPC, errno
from libc.stdint cimport uint32_t
from libc.string cimport strerror

from conmon.core.clock cimport pause_ms
from conmon.core.diag cimport LEVEL_WARNING, say_errno
from conmon.core.kernel cimport (
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLET, EPOLLHUP, close, epoll_ctl,
    epoll_event, epoll_wait, poll, pollfd,
)
from conmon.core.state cimport Handler, Monitor, Source

cdef enum:
    ROUND = 16         # events taken by one epoll_wait
    POLL_LIMIT = 512   # sources that poll(2) waits for; there are never so many
    HUNG_UP_EVERY = 100  # ms between two looks at a terminal that is hung up, without epoll
    WAIT_FAILED_MS = 100  # pause where not even poll(2) can wait


cdef inline void source_init(Source* source, int fd, Handler handle) noexcept nogil:
    source.fd = fd
    source.events = 0
    source.handle = handle
    source.next = source.previous = NULL


cdef inline void armed_add(Monitor* m, Source* source) noexcept nogil:
    source.previous = NULL
    source.next = m.armed
    if m.armed != NULL:
        m.armed.previous = source
    m.armed = source


cdef inline void armed_remove(Monitor* m, Source* source) noexcept nogil:
    if source.previous != NULL:
        source.previous.next = source.next
    else:
        m.armed = source.next
    if source.next != NULL:
        source.next.previous = source.previous


cdef inline void poll_instead(Monitor* m, int failure) noexcept nogil:
    """Wait by poll(2) from now on; it costs more, and nothing is lost."""
    if m.epoll >= 0:
        say_errno(m.record, LEVEL_WARNING, b"epoll failed, using poll instead", strerror(failure))
        close(m.epoll)
    m.epoll = -1


cdef inline int watch(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    """Wait for exactly `events` of the source, 0 to let it rest.

    0, or -errno for an fd that nobody can wait for: EPERM for a regular file.
    """
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
    if m.epoll >= 0 and epoll_ctl(m.epoll, op, source.fd, &event) < 0:
        if errno != ENOMEM and errno != ENOSPC:
            return -errno
        poll_instead(m, errno)
    if source.events == 0:
        armed_add(m, source)
    elif events == 0:
        armed_remove(m, source)
    source.events = events
    return 0


cdef inline void source_close(Monitor* m, Source* source) noexcept nogil:
    """Stop waiting and close the fd."""
    if source.fd >= 0:
        watch(m, source, 0)
        close(source.fd)
        source.fd = -1


cdef inline void loop_end(Monitor* m) noexcept nogil:
    """Wait for nothing any more, neither fd nor timer. What is read later needs a loop anew."""
    if m.epoll >= 0:
        close(m.epoll)
    m.epoll = -1
    m.armed = NULL
    m.timers = NULL


cdef inline void handle_ready(Monitor* m, Source* source, uint32_t ready) noexcept nogil:
    """Call the handler, unless an earlier one of this round has ended the wait for what came."""
    ready &= source.events | EPOLLERR | EPOLLHUP
    if source.fd >= 0 and source.events != 0 and ready:
        source.handle(m, source, ready)


cdef inline int round_of_epoll(Monitor* m, int timeout_ms) noexcept nogil:
    cdef epoll_event events[ROUND]
    cdef int i
    cdef int n = epoll_wait(m.epoll, events, ROUND, timeout_ms)
    for i in range(n):
        handle_ready(m, <Source*>events[i].data.ptr, events[i].events)
    return n


cdef inline int round_of_poll(Monitor* m, int timeout_ms) noexcept nogil:
    """The events have the same numbers. What is edge-triggered, a hung-up terminal, is looked at
    when nothing else has come for a while."""
    cdef pollfd entries[POLL_LIMIT]
    cdef Source* sources[POLL_LIMIT]
    cdef Source* source = m.armed
    cdef Source* hung_up = NULL
    cdef int count = 0
    cdef int i, n
    while source != NULL and count < POLL_LIMIT:
        if source.events & EPOLLET:
            hung_up = source
        else:
            sources[count] = source
            entries[count].fd = source.fd
            entries[count].events = <short>source.events
            count += 1
        source = source.next
    if hung_up != NULL and not 0 <= timeout_ms <= HUNG_UP_EVERY:
        timeout_ms = HUNG_UP_EVERY
    n = poll(entries, count, timeout_ms)
    if n == 0 and hung_up != NULL:
        handle_ready(m, hung_up, EPOLLHUP)
    for i in range(count if n > 0 else 0):
        if entries[i].revents:
            handle_ready(m, sources[i], <uint32_t>entries[i].revents)
    return n


cdef inline int wait_failed(Monitor* m, int failure) noexcept nogil:
    """What to do when the wait itself fails: never spin, and never end for it."""
    if m.epoll >= 0:
        poll_instead(m, failure)
        return 1
    pause_ms(WAIT_FAILED_MS)
    return -failure


cdef inline int dispatch(Monitor* m, int timeout_ms) noexcept nogil:
    """One round: wait, then call the handlers.

    The number of events, 0 on time-out; -errno, after a pause, where nobody can wait.
    """
    cdef int n
    m.record.counters.wake_ups += 1
    n = round_of_epoll(m, timeout_ms) if m.epoll >= 0 else round_of_poll(m, timeout_ms)
    if n < 0:
        return 1 if errno == EINTR else wait_failed(m, errno)
    return n
