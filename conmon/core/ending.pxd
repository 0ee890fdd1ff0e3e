"""What the core does at the end when no interpreter can: exit files, exit command (C17).

The finish life does the first in Python; this is the same for the case that it cannot start.
The second is the linger life: waiting costs no interpreter.
"""

from libc.errno cimport EAGAIN, ECONNRESET, EINTR, ENOBUFS, ENOMEM, EPIPE, errno
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset, strerror, strlen

from conmon.core.atomicfile cimport PATH_LIMIT
from conmon.core.capabilities cimport capabilities_raise
from conmon.core.clock cimport now_ms, pause_ms
from conmon.core.closefds cimport close_between
from conmon.core.diag cimport LEVEL_DEBUG, LEVEL_ERROR, LEVEL_WARNING, MESSAGE_LIMIT, say, say_errno
from conmon.core.exitfile cimport exit_file_write
from conmon.core.kernel cimport (
    ITIMER_PROF, O_CLOEXEC, O_WRONLY, PR_SET_CHILD_SUBREAPER, SIGABRT, SIGBUS, SIGINT, SIGPIPE,
    SIGPROF, SIGQUIT, SIGSEGV, SIGTERM, SIGXFSZ, SIG_BLOCK, SIG_DFL, SIG_SETMASK, WNOHANG, _exit,
    c_signal, close, environ, execve, fork, itimerval, open, pid_t, prctl, setitimer, sigemptyset,
    sigprocmask, sigset_t, sigtimedwait, snprintf, timespec, waitpid, write,
)
from conmon.core.ownnames cimport own_link_remove, own_name_remove
from conmon.core.reaper cimport exit_code_of, monitor_signals
from conmon.core.record cimport Record, record_text


cdef enum:
    REPORT_PAUSE = 20  # ms between two tries to send the report


cdef inline int write_exit_file(
        Record* record, int reserved, uint32_t directory, const char* name,
        const char* what) noexcept nogil:
    """Write the exit code to directory/name, if there is a directory; 0 or -errno, reported."""
    cdef char path[PATH_LIMIT]
    cdef char text[MESSAGE_LIMIT]
    cdef int failure
    if directory == 0:
        return 0
    if <size_t>snprintf(
            path, sizeof(path), b"%s/%s", record_text(record, directory), name) >= sizeof(path):
        say(record, LEVEL_ERROR, b"The path of an exit file is too long")
        return -1
    failure = exit_file_write(reserved, path, record.exit_code)
    if failure:
        snprintf(
            text, sizeof(text), b"Failed to write %d to %s: %s", record.exit_code, what, path)
        say_errno(record, LEVEL_ERROR, text, strerror(-failure))
    return failure


cdef inline int write_exit_files(Record* record) noexcept nogil:
    """<persist>/exit first: CRI-O reads it when it sees the other. 0 if both were written."""
    cdef int persist = write_exit_file(
        record, record.persist_exit_fd, record.persist_dir, b"exit", b"container exit file")
    cdef int failure = write_exit_file(
        record, record.exit_file_fd, record.exit_dir, record_text(record, record.cid),
        b"exit file")
    return persist if persist else failure


cdef inline int send_report(int fd, const char* line) noexcept nogil:
    """Write the line in one write, waiting for room and memory; 0, also where the parent has gone,
    or -errno."""
    while write(fd, line, strlen(line)) < 0:
        if errno == EPIPE or errno == ECONNRESET:
            return 0
        if errno != EAGAIN and errno != EINTR and errno != ENOBUFS and errno != ENOMEM:
            return -errno
        pause_ms(REPORT_PAUSE)
    return 0


cdef inline int report(Record* record) noexcept nogil:
    """Send an exec session's exit code to the parent; 0 or -errno, reported."""
    cdef char line[96]
    cdef const char* key = b"exit_code"
    cdef const char* message = b""
    cdef int failure
    if not record.exec_mode or record.sync_fd < 0:
        return 0
    if record.api_version >= 1:
        key = b"data"
    if record.timed_out:
        message = b", \"message\": \"command timed out\""
    snprintf(line, sizeof(line), b"{\"%s\": %d%s}\n", key, record.exit_code, message)
    failure = send_report(record.sync_fd, line)
    if failure:
        say_errno(
            record, LEVEL_ERROR, b"Unable to send container stderr message to parent",
            strerror(-failure))
    return failure


cdef inline bint name_stays(Record* record, int failure) noexcept nogil:
    """Whether a name could not be removed; why is reported."""
    if failure:
        say_errno(
            record, LEVEL_ERROR, b"Failed to remove symlink for attach socket directory",
            strerror(-failure))
    return failure != 0


cdef inline bint remove_names(Record* record) noexcept nogil:
    """Remove what is still ours in bundle and socket directory; whether a name stays, reported."""
    cdef bint left = False
    if record.attach_path:
        left = name_stays(record, own_name_remove(
            record_text(record, record.attach_path), record.attach_path_fd))
    if record.attach_link:
        left |= name_stays(record, own_name_remove(
            record_text(record, record.attach_link), record.attach_link_fd))
    if record.counters_path:
        left |= name_stays(record, own_link_remove(record_text(record, record.counters_path)))
    return left


cdef inline void limit_cpu_time(int seconds) noexcept nogil:
    """SIGPROF after so many seconds of CPU time; 0: never. The limit outlives an exec."""
    cdef itimerval limit
    memset(&limit, 0, sizeof(limit))
    limit.it_value.tv_sec = seconds
    setitimer(ITIMER_PROF, &limit, NULL)


cdef inline int conclude(Record* record) noexcept nogil:
    """What conmon/finish.py does, where it cannot; conmon's exit status."""
    limit_cpu_time(0)  # the finish life's, which would end a long wait for the parent
    cdef int unwritten = write_exit_files(record)
    cdef int unsent = report(record)
    cdef bint left = remove_names(record)
    record.status = 1 if unwritten or unsent or left else record.exit_code & 0xff
    return linger(record) if record.exit_argv else record.status


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


cdef inline char** exit_command_argv(Record* record) noexcept nogil:
    """The exit command's arguments, in the room that the record has for as many as there are."""
    cdef char** argv = <char**>(<char*>record + record.exit_pointers)
    cdef const char* argument = record_text(record, record.exit_argv)
    cdef size_t count = 0
    while argument[0] != c"\0":
        # every argument is stored behind one mark, so that an empty one is no end of the list
        argv[count] = <char*>argument + 1
        argument += strlen(argument) + 1
        count += 1
    argv[count] = NULL
    return argv


cdef inline void exec_exit_command(Record* record) noexcept nogil:
    """Become the exit command."""
    cdef char** argv = exit_command_argv(record)
    restore_signals()
    capabilities_raise(record)
    if record.restore_oom_score:
        set_oom_score(record.oom_score_adj)
    execve(argv[0], argv, environ)
    say_errno(record, LEVEL_ERROR, b"Failed to execute the exit command", strerror(errno))
    _exit(127)


cdef inline void forget_handlers() noexcept nogil:
    """Those of the Python lives: there is nothing left that they could do."""
    c_signal(SIGABRT, SIG_DFL)
    c_signal(SIGBUS, SIG_DFL)
    c_signal(SIGPROF, SIG_DFL)
    c_signal(SIGSEGV, SIG_DFL)
    c_signal(SIGTERM, SIG_DFL)


cdef inline void reap_all() noexcept nogil:
    """Take every dead child: a zombie would keep its PID namespace, and so a container, alive."""
    cdef int status
    while waitpid(-1, &status, WNOHANG) > 0:
        pass


cdef inline int next_signal(int64_t ms) noexcept nogil:
    """The next of the blocked signals within so many ms, those that wait first; -1 if none came."""
    cdef sigset_t set
    cdef timespec left
    monitor_signals(&set)
    left.tv_sec = ms // 1000
    left.tv_nsec = ms % 1000 * 1000000
    return sigtimedwait(&set, NULL, &left)


cdef inline void wait_delay(Record* record) noexcept nogil:
    """Wait out --exit-delay, or until TERM, INT or QUIT, which came after the container's end."""
    cdef int64_t end = now_ms() + <int64_t>record.exit_delay * 1000
    cdef int64_t left = end - now_ms()
    cdef int number
    while left > 0 and not record.hurried:
        reap_all()
        number = next_signal(left)
        if number == SIGTERM or number == SIGINT or number == SIGQUIT:
            record.hurried = 1
            say(record, LEVEL_DEBUG, b"A signal ends the exit delay")
        left = end - now_ms()


cdef inline void forget_signals() noexcept nogil:
    """Take the signals that wait: an exec in this process would let them end it."""
    while next_signal(0) > 0:
        pass


cdef inline int wait_for_exit_command(pid_t pid) noexcept nogil:
    """Wait for it, reaping whatever else ends meanwhile; its exit code."""
    cdef int status = 0
    cdef pid_t ended = 0
    while ended != pid:
        ended = waitpid(-1, &status, 0)
        if ended < 0 and errno != EINTR:
            return 1
    return exit_code_of(status)


cdef inline int run_exit_command(Record* record) noexcept nogil:
    """Run the exit command as a child; its exit code. Without a child, become it."""
    cdef pid_t pid = fork()
    if pid == 0:
        exec_exit_command(record)
    if pid < 0:
        say_errno(
            record, LEVEL_WARNING,
            b"Cannot fork for the exit command, executing it in conmon's place",
            strerror(errno))
        forget_signals()
        exec_exit_command(record)
    return wait_for_exit_command(pid)


cdef inline int linger(Record* record) noexcept nogil:
    """Wait out --exit-delay, run the exit command, wait for it; conmon's exit status.

    The command's status is ours if it fails. Only the command is waited for: other children
    (the container, after an early error) live on without us (C20.22).
    """
    cdef sigset_t set
    cdef int status
    limit_cpu_time(0)
    forget_handlers()
    monitor_signals(&set)
    sigprocmask(SIG_BLOCK, &set, NULL)
    prctl(PR_SET_CHILD_SUBREAPER, 0)
    close_between(3, ~0)
    wait_delay(record)
    status = run_exit_command(record)
    return status if status != 0 else record.status
