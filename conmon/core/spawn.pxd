"""Starting the OCI runtime (C4.16): everything between fork and exec."""

from libc.errno cimport EBUSY, EINTR, errno
from libc.string cimport strerror, strlen, strncmp

from conmon.core.ending cimport set_oom_score
from conmon.core.kernel cimport (
    PR_SET_PDEATHSIG, SIG_DFL, SIG_SETMASK, SIGKILL, SIGPIPE, SIGTERM, SIGXFSZ, _exit, c_signal,
    dup2, environ, execve, fchmod, fork, getpid, pid_t, prctl, sigprocmask, sigset_t,
    snprintf, vfork, write,
)

cdef enum:
    SPAWN_NULL = -1   # /dev/null
    SPAWN_KEEP = -2   # the caller's own (passthrough)

cdef struct Spawn:
    char** argv
    int null_fd
    int stdio[3]          # fd, SPAWN_NULL or SPAWN_KEEP for 0, 1, 2
    int oom_score_adj
    bint restore_oom_score
    bint own_listen_pid   # LISTEN_PID becomes the runtime's pid
    sigset_t* mask        # the caller's signal mask


cdef inline void put_fd(const Spawn* spawn, int fd, int number) noexcept nogil:
    """dup2(2) until it succeeds: no container is to start with another stream than its own."""
    cdef char text[128]
    while dup2(fd, number) < 0:
        if errno != EINTR and errno != EBUSY:
            snprintf(text, sizeof(text), b"Failed to set up fd %d: %s\n", number, strerror(errno))
            write(spawn.stdio[2] if spawn.stdio[2] >= 0 else 2, text, strlen(text))
            _exit(127)


cdef inline void spawn_stdio(const Spawn* spawn) noexcept nogil:
    cdef int i
    for i in range(3):
        if spawn.stdio[i] == SPAWN_NULL:
            put_fd(spawn, spawn.null_fd, i)
        elif spawn.stdio[i] >= 0:
            # so that a container without root can open /dev/stdout anew
            fchmod(spawn.stdio[i], 0o777)
            put_fd(spawn, spawn.stdio[i], i)


cdef inline void spawn_listen_pid(char* variable, size_t size) noexcept nogil:
    """Point LISTEN_PID at this process, in place."""
    cdef char** entry = environ
    snprintf(variable, size, b"LISTEN_PID=%d", getpid())
    while entry[0] != NULL:
        if strncmp(entry[0], b"LISTEN_PID=", 11) == 0:
            entry[0] = variable
        entry += 1


cdef inline void spawn_child(const Spawn* spawn) noexcept nogil:
    cdef char variable[32]
    cdef char text[4224]
    prctl(PR_SET_PDEATHSIG, SIGKILL)
    c_signal(SIGPIPE, SIG_DFL)
    c_signal(SIGTERM, SIG_DFL)
    c_signal(SIGXFSZ, SIG_DFL)
    sigprocmask(SIG_SETMASK, spawn.mask, NULL)
    spawn_stdio(spawn)
    if spawn.own_listen_pid:
        spawn_listen_pid(variable, sizeof(variable))
    if spawn.restore_oom_score:
        set_oom_score(spawn.oom_score_adj)
    execve(spawn.argv[0], spawn.argv, environ)
    snprintf(
        text, sizeof(text), b"Failed to execute the runtime %s: %s\n", spawn.argv[0],
        strerror(errno))
    write(2, text, strlen(text))
    _exit(127)


cdef inline pid_t spawn_runtime(const Spawn* spawn) noexcept nogil:
    """Start the runtime; its pid, or -errno.

    By vfork(2), which copies no page tables and leaves us no page to fault in again, where the
    child changes nothing of ours before the exec.
    """
    cdef pid_t pid = -1
    if not spawn.own_listen_pid:
        pid = vfork()
    if pid < 0:  # or a seccomp filter knows no vfork
        pid = fork()
    if pid == 0:
        spawn_child(spawn)
    return pid if pid > 0 else -errno
