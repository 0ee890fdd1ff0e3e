"""The journald log at the container's end (C18, C20.1).

A journal that takes entries is waited for, so that they are there when the exit files are, up to
END_LIMIT. For what it does not take by then a forked child stays, and conmon goes on.
"""

from libc.errno cimport errno
from libc.stdint cimport int64_t
from libc.string cimport strerror

from conmon.core.clock cimport now_ms
from conmon.core.closefds cimport close_all_but
from conmon.core.diag cimport LEVEL_WARNING, say_errno
from conmon.core.ending cimport restore_signals
from conmon.core.journal cimport journal_close, journal_line
from conmon.core.journalqueue cimport journal_drop_queue
from conmon.core.journalstate cimport (
    AWAY, PATIENCE, RETRY, batch_flush, journal_batch, journal_find_again, journal_flush,
)
from conmon.core.kernel cimport (
    POLLOUT, SIG_IGN, SIGPIPE, _exit, c_signal, fork, pid_t, poll, pollfd, snprintf,
)
from conmon.core.loop cimport watch
from conmon.core.queue cimport queue_size
from conmon.core.state cimport Monitor

cdef enum:
    END_PATIENCE = 1000       # ms that the exit files wait for a journal that takes nothing
    END_LIMIT = 5000          # ms that they wait for a slow one


cdef inline void journal_wait(Monitor* m, int64_t patience, int64_t limit) noexcept nogil:
    """Wait until all is sent: `patience` ms without progress, `limit` ms in all (0: no limit)."""
    cdef int64_t start = now_ms()
    cdef int64_t progress = start
    cdef int64_t now = start
    cdef pollfd wait
    cdef size_t left
    while queue_size(&m.journal.queue) and now - progress < patience and (
            limit == 0 or now - start < limit):
        left = queue_size(&m.journal.queue)
        wait.fd = m.journal.source.fd  # none while AWAY: a pause
        wait.events = POLLOUT
        poll(&wait, 1, RETRY if m.journal.state == AWAY else <int>patience)
        journal_flush(m)
        now = now_ms()
        if queue_size(&m.journal.queue) < left:
            progress = now


cdef inline void journal_finish(Monitor* m) noexcept nogil:
    """The container has ended: send its unfinished lines and what waits."""
    cdef int i
    if m.journal.path == NULL:
        return
    for i in range(2):
        if m.journal.lines[i].size:
            journal_find_again(m, True)
            journal_line(m, <char>(2 + i), b"", 0, True)
            batch_flush(m, journal_batch(m))
    journal_find_again(m, True)
    journal_wait(m, END_PATIENCE, END_LIMIT)
    watch(m, &m.journal.source, 0)


cdef inline void journal_lose(Monitor* m) noexcept nogil:
    """Give up what waits still, and tell how much is missing."""
    cdef char text[160]
    journal_drop_queue(m)
    if m.journal.lost:
        snprintf(
            text, sizeof(text), b"%llu bytes of output were not logged to the journal",
            <unsigned long long>m.journal.lost)
        say_errno(m.record, LEVEL_WARNING, text, strerror(m.journal.failure))


cdef inline void journal_stay(Monitor* m) noexcept nogil:
    """In the child: wait for the journal, and for nothing else."""
    close_all_but(&m.journal.source.fd, 1)
    restore_signals()
    c_signal(SIGPIPE, SIG_IGN)
    if m.leave != NULL:
        m.leave()
    journal_wait(m, PATIENCE, 0)
    journal_lose(m)
    _exit(0)


cdef inline void journal_deliver(Monitor* m) noexcept nogil:
    """Leave what the journal has not taken to a child. Only fds that it may hold are open."""
    cdef pid_t pid = -1
    if m.journal.path == NULL:
        return
    if queue_size(&m.journal.queue):
        pid = fork()
        if pid == 0:
            journal_stay(m)
        if pid < 0:
            m.journal.failure = errno
    if pid < 0:
        journal_lose(m)
    journal_close(m)
