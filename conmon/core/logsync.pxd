"""The log's way to its reader and to the disk at the end (C17.3), which nobody waits for (C20.23).

fsync() takes as long as the disk does, seconds where others write much. The reader of a log that is
a fifo may take the rest at any time, or never. So a forked child waits for both, while conmon goes
on to the exit files. The child holds nothing but the log and the records that it has not taken. It
lives until all is taken, or the log fails. Where no child can be forked, the rest is lost and
counted, and the system writes the log to the disk within half a minute: the exit code is worth
more.
"""

from libc.errno cimport EINTR, errno
from libc.string cimport strerror

from conmon.core.closefds cimport close_all_but
from conmon.core.diag cimport LEVEL_WARNING, say_errno
from conmon.core.ending cimport restore_signals
from conmon.core.kernel cimport (
    SIG_IGN, SIGPIPE, _exit, c_signal, fork, fsync, pid_t, snprintf, write,
)
from conmon.core.logwait cimport log_set_blocking
from conmon.core.logwrite cimport log_drop_queue, log_lose_begun
from conmon.core.queue cimport queue_free, queue_size
from conmon.core.record cimport Record
from conmon.core.state cimport Log, Monitor


cdef inline void say_rest_lost(Record* record, size_t size, int failure) noexcept nogil:
    cdef char text[96]
    snprintf(text, sizeof(text), b"The last %zu bytes of the log were not written", size)
    say_errno(record, LEVEL_WARNING, text, strerror(failure))


cdef inline void log_write_rest(Log* log, Record* record) noexcept nogil:
    """In the child: write what waits, however long that takes."""
    cdef ssize_t n
    log_set_blocking(log.fd, True)
    while queue_size(&log.queue):
        n = write(log.fd, log.queue.data + log.queue.head, queue_size(&log.queue))
        if n > 0:
            log.queue.head += n
        elif n == 0 or errno != EINTR:
            say_rest_lost(record, queue_size(&log.queue), errno)
            return


cdef inline void log_lose_rest(Monitor* m, int failure) noexcept nogil:
    """Without a child what waits is lost."""
    if queue_size(&m.log.queue):
        say_rest_lost(m.record, queue_size(&m.log.queue), failure)
        log_drop_queue(m)
        log_lose_begun(&m.log, m.record)


cdef inline void log_sync_child(Monitor* m) noexcept nogil:
    cdef int fd = m.log.fd
    close_all_but(&fd, 1)
    restore_signals()
    c_signal(SIGPIPE, SIG_IGN)
    if m.leave != NULL:
        m.leave()
    log_write_rest(&m.log, m.record)
    if m.record.sync_log:
        fsync(fd)
    _exit(0)


cdef inline void log_sync(Monitor* m) noexcept nogil:
    """Have the rest of the log written, and all of it put on the disk if that is wanted."""
    cdef bint to_disk = m.record.sync_log and m.record.counters.bytes_logged > 0
    cdef pid_t pid
    if m.log.fd < 0 or not (to_disk or queue_size(&m.log.queue)):
        return
    pid = fork()
    if pid == 0:
        log_sync_child(m)
    if pid < 0:
        log_lose_rest(m, errno)
        say_errno(
            m.record, LEVEL_WARNING, b"Cannot fsync the log, the system writes it to disk later",
            strerror(errno))
    queue_free(&m.log.queue)
