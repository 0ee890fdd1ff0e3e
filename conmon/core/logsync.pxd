"""The log's way to the disk at the end (C17.3), which nobody has to wait for (C20.23).

fsync() takes as long as the disk does: seconds, where others write much. It is done by a forked
child that holds nothing but the log, while conmon goes on to the exit files. Without a child it is
not done, and said: the system writes it within half a minute, and the exit code is worth more.
"""

from libc.errno cimport errno
from libc.string cimport strerror

from conmon.core.closefds cimport close_all_but
from conmon.core.diag cimport LEVEL_WARNING, say_errno
from conmon.core.ending cimport restore_signals
from conmon.core.kernel cimport _exit, fork, fsync, pid_t
from conmon.core.state cimport Monitor


cdef inline void log_sync(Monitor* m) noexcept nogil:
    """Have the log written to the disk, if there is anything in it from us and that is wanted."""
    cdef int fd = m.log.fd
    cdef pid_t pid
    if fd < 0 or not m.record.sync_log or m.record.counters.bytes_logged == 0:
        return
    pid = fork()
    if pid == 0:
        close_all_but(&fd, 1)
        restore_signals()
        fsync(fd)
        _exit(0)
    if pid < 0:
        say_errno(
            m.record, LEVEL_WARNING, b"The log is left to the system to write to the disk",
            strerror(errno))
