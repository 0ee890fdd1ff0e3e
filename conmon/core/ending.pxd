"""What the core does at the end when no interpreter can: exit files, exit command (C17).

The finish life does the first in Python; this is the same for the case that it cannot start.
The second is the linger life: waiting costs no interpreter.
"""

from libc.errno cimport EINTR, errno
from libc.stdint cimport uint32_t
from libc.string cimport memset, strerror, strlen

from conmon.core.atomicfile cimport PATH_LIMIT, write_atomically
from conmon.core.closefds cimport close_between
from conmon.core.diag cimport LEVEL_ERROR, say, say_errno
from conmon.core.kernel cimport (
    ITIMER_PROF, O_CLOEXEC, O_WRONLY, PR_SET_CHILD_SUBREAPER, SIGABRT, SIGBUS, SIGPIPE, SIGPROF,
    SIGSEGV, SIGTERM, SIGXFSZ, SIG_DFL, SIG_SETMASK, _exit, c_signal, close, environ, execve, fork,
    itimerval, nanosleep, open, pid_t, prctl, setitimer, sigemptyset, sigprocmask, sigset_t,
    snprintf, timespec, unlink, waitpid, write,
)
from conmon.core.reaper cimport exit_code_of
from conmon.core.record cimport Record, record_text

cdef enum:
    ARGUMENT_LIMIT = 4096  # arguments of the exit command


cdef inline int write_exit_file(
        Record* record, const char* directory, const char* name) noexcept nogil:
    """Write the exit code to directory/name; 0 or -errno, reported."""
    cdef char path[PATH_LIMIT]
    cdef char code[16]
    cdef char text[PATH_LIMIT + 64]
    cdef int failure
    if <size_t>snprintf(path, sizeof(path), b"%s/%s", directory, name) >= sizeof(path):
        say(record, LEVEL_ERROR, b"The path of an exit file is too long")
        return -1
    snprintf(code, sizeof(code), b"%d", record.exit_code)
    failure = write_atomically(path, code, strlen(code))
    if failure:
        snprintf(text, sizeof(text), b"Failed to write %s to exit file: %s", code, path)
        say_errno(record, LEVEL_ERROR, text, strerror(-failure))
    return failure


cdef inline void write_exit_files(Record* record) noexcept nogil:
    """<persist>/exit first: CRI-O reads it when it sees the other."""
    if record.persist_dir:
        write_exit_file(record, record_text(record, record.persist_dir), b"exit")
    if record.exit_dir:
        write_exit_file(
            record, record_text(record, record.exit_dir), record_text(record, record.cid))
    remove_name(record, record.attach_path)
    remove_name(record, record.attach_link)
    remove_name(record, record.counters_path)


cdef inline void report_end(Record* record) noexcept nogil:
    """An exec session's exit code, as conmon/finish.py reports it."""
    cdef char line[96]
    cdef const char* key = b"exit_code"
    cdef const char* message = b""
    if not record.exec_mode or record.sync_fd < 0:
        return
    if record.api_version >= 1:
        key = b"data"
    if record.timed_out:
        message = b", \"message\": \"command timed out\""
    snprintf(line, sizeof(line), b"{\"%s\": %d%s}\n", key, record.exit_code, message)
    write(record.sync_fd, line, strlen(line))


cdef inline int conclude(Record* record) noexcept nogil:
    """All of the end that is left, where there is no finish life; conmon's exit status."""
    write_exit_files(record)
    report_end(record)
    record.status = record.exit_code & 0xff
    return linger(record) if record.exit_argv else record.status


cdef inline void remove_name(Record* record, uint32_t name) noexcept nogil:
    if name:
        unlink(record_text(record, name))


cdef inline void restore_signals() noexcept nogil:
    """Give what we start the signal state that a program expects (C20.18)."""
    cdef sigset_t none
    sigemptyset(&none)
    c_signal(SIGPIPE, SIG_DFL)
    c_signal(SIGXFSZ, SIG_DFL)
    sigprocmask(SIG_SETMASK, &none, NULL)


cdef inline void set_oom_score(int score) noexcept nogil:
    """Best effort: lowering it wants CAP_SYS_RESOURCE."""
    cdef char text[16]
    cdef int fd = open(b"/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC)
    if fd >= 0:
        snprintf(text, sizeof(text), b"%d", score)
        write(fd, text, strlen(text))
        close(fd)


cdef inline void exec_exit_command(Record* record) noexcept nogil:
    """In the child: become the exit command."""
    cdef char* argv[ARGUMENT_LIMIT + 1]
    cdef const char* argument = record_text(record, record.exit_argv)
    cdef int count = 0
    while argument[0] != c"\0" and count < ARGUMENT_LIMIT:
        # every argument is stored behind one mark, so that an empty one is no end of the list
        argv[count] = <char*>argument + 1
        argument += strlen(argument) + 1
        count += 1
    argv[count] = NULL
    restore_signals()
    if record.restore_oom_score:
        set_oom_score(record.oom_score_adj)
    execve(argv[0], argv, environ)
    _exit(127)


cdef inline void limit_cpu_time(int seconds) noexcept nogil:
    """SIGPROF after so many seconds of CPU time; 0: never. The limit outlives an exec."""
    cdef itimerval limit
    memset(&limit, 0, sizeof(limit))
    limit.it_value.tv_sec = seconds
    setitimer(ITIMER_PROF, &limit, NULL)


cdef inline void forget_handlers() noexcept nogil:
    """Those of the Python lives: there is nothing left that they could do."""
    c_signal(SIGABRT, SIG_DFL)
    c_signal(SIGBUS, SIG_DFL)
    c_signal(SIGPROF, SIG_DFL)
    c_signal(SIGSEGV, SIG_DFL)
    c_signal(SIGTERM, SIG_DFL)


cdef inline void sleep_seconds(int seconds) noexcept nogil:
    cdef timespec left
    left.tv_sec = seconds
    left.tv_nsec = 0
    while nanosleep(&left, &left) < 0 and errno == EINTR:
        pass


cdef inline int linger(Record* record) noexcept nogil:
    """Wait out --exit-delay, run the exit command, wait for it; conmon's exit status.

    The command's status is ours if it fails. Only the command is waited for: other children
    (the container, after an early error) live on without us (C20.22).
    """
    cdef int status
    cdef pid_t pid
    limit_cpu_time(0)
    forget_handlers()
    prctl(PR_SET_CHILD_SUBREAPER, 0)
    close_between(3, ~0)
    if record.exit_delay > 0:
        sleep_seconds(record.exit_delay)
    pid = fork()
    if pid == 0:
        exec_exit_command(record)
    if pid < 0:
        say_errno(record, LEVEL_ERROR, b"Failed to fork the exit command", strerror(errno))
        return 1
    while waitpid(pid, &status, 0) < 0 and errno == EINTR:
        pass
    status = exit_code_of(status)
    return status if status != 0 else record.status
