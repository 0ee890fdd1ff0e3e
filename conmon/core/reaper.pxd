"""Signals and deaths (C16): one signalfd, every child reaped, the container's end recorded.

The signals are blocked before the first exec, so none is lost between two lives: what comes
while there is no signalfd stays pending.
"""

from libc.errno cimport ESRCH, errno
from libc.stdint cimport uint32_t
from libc.string cimport strerror

from conmon.core.diag cimport LEVEL_WARNING, say, say_errno
from conmon.core.kernel cimport (
    EPOLLIN, SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1, WEXITSTATUS, WIFEXITED,
    WIFSIGNALED, WNOHANG, WTERMSIG, getpgid, kill, pid_t, poll, pollfd, read, sigaddset,
    sigemptyset, signalfd_siginfo, sigset_t, waitpid,
)
from conmon.core.loop cimport source_close, watch
from conmon.core.notify cimport notify_listen
from conmon.core.state cimport Monitor, Source
from conmon.core.stranger cimport pidfd_open, stranger_lives, stranger_status
from conmon.core.timer cimport timer_set

cdef enum:
    LOOK_AGAIN = 250  # ms between two looks at a container that has no pidfd


cdef inline void monitor_signals(sigset_t* set) noexcept nogil:
    """The signals that conmon takes through its signalfd."""
    sigemptyset(set)
    sigaddset(set, SIGCHLD)
    sigaddset(set, SIGTERM)
    sigaddset(set, SIGINT)
    sigaddset(set, SIGQUIT)
    sigaddset(set, SIGHUP)
    sigaddset(set, SIGUSR1)


cdef inline int exit_code_of(int status) noexcept nogil:
    """A wait status as the exit files give it."""
    if WIFEXITED(status):
        return WEXITSTATUS(status)
    return 128 + WTERMSIG(status) if WIFSIGNALED(status) else -1


cdef inline void container_ended(Monitor* m, int exit_code) noexcept nogil:
    m.record.ended = 1
    m.record.exit_code = exit_code
    m.running = False


cdef inline void reap(Monitor* m) noexcept nogil:
    """Take every dead child; the container's death ends the loop."""
    cdef int status
    cdef pid_t pid = waitpid(-1, &status, WNOHANG)
    while pid > 0:
        if pid == m.record.container_pid and not m.record.ended:
            container_ended(m, exit_code_of(status))
        elif pid == m.holder:
            m.holder = 0
            m.notify.stuck = False
            notify_listen(m)
        pid = waitpid(-1, &status, WNOHANG)


cdef inline void on_signals(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    cdef signalfd_siginfo signals[8]
    cdef ssize_t n = read(source.fd, signals, sizeof(signals))
    cdef int i, number
    for i in range(<int>(n // <ssize_t>sizeof(signalfd_siginfo)) if n > 0 else 0):
        number = signals[i].ssi_signo
        if number == SIGCHLD:
            reap(m)
        elif number != SIGHUP and number != SIGUSR1:
            pass_on(m, number)


cdef inline void look_for_end(Monitor* m) noexcept nogil:
    """Before the container is sent a signal: its pid may be another process's by now, if it is not
    our child and has been reaped by its parent."""
    cdef pollfd entry
    reap(m)
    entry.fd = m.pidfd.fd
    entry.events = EPOLLIN
    if m.record.ended:
        return
    if m.by_clock:
        stranger_watch(m)
    elif m.pidfd.fd >= 0 and poll(&entry, 1, 0) > 0:
        on_pidfd(m, &m.pidfd, EPOLLIN)


cdef inline void pass_on(Monitor* m, int number) noexcept nogil:
    """TERM, INT and QUIT are the container's while it lives, then they end --exit-delay (C21.3)."""
    look_for_end(m)
    if m.record.ended or (kill(m.record.container_pid, number) < 0 and errno == ESRCH):
        m.record.hurried = 1


cdef inline void on_timeout(Monitor* m) noexcept nogil:
    """--timeout has passed: kill the container and do not wait for it (C17.4)."""
    cdef pid_t group
    look_for_end(m)
    if not m.record.ended:
        group = getpgid(m.record.container_pid)
        # a container that shares our own group is killed alone; so is one whose group is another
        # one than at the start, which the filter of system calls does not know
        if group <= 1 or group == getpgid(0) or kill(-group, SIGKILL) < 0:
            kill(m.record.container_pid, SIGKILL)
        m.record.timed_out = 1
        container_ended(m, -1)


cdef inline void on_pidfd(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    """The container is not our child, and has died."""
    cdef int status
    if m.record.ended:
        return
    status = stranger_status(source.fd, m.record.container_pid)
    if status < 0:
        say(m.record, LEVEL_WARNING,
            b"The container was not a child of conmon: its exit code is unknown")
    container_ended(m, exit_code_of(status) if status >= 0 else -1)


cdef inline void on_clock(Monitor* m) noexcept nogil:
    if not m.record.ended:
        stranger_watch(m)


cdef inline void stranger_by_clock(Monitor* m, int failure) noexcept nogil:
    """Look for the container's end every LOOK_AGAIN ms: there is no fd for a pidfd, or the kernel
    is older than 5.3 and has none."""
    if not m.by_clock:
        say_errno(
            m.record, LEVEL_WARNING, b"Cannot open a pidfd for the container, polling for its end",
            strerror(failure))
    m.by_clock = True
    timer_set(m, &m.clock, on_clock, LOOK_AGAIN)


cdef inline void stranger_watch(Monitor* m) noexcept nogil:
    """Have the container, which is not our child, watched by a pidfd; by the clock without one.

    Whether it has ended is looked at as well: its pid may be another process's by now.
    """
    cdef pid_t pid = m.record.container_pid
    cdef int failure
    m.pidfd.fd = pidfd_open(pid)
    failure = errno if m.pidfd.fd < 0 else 0
    watch(m, &m.pidfd, EPOLLIN)
    if failure == 0 and not m.by_clock:
        return
    if failure == ESRCH or not stranger_lives(pid, &m.container_start):
        source_close(m, &m.pidfd)
        on_pidfd(m, &m.pidfd, 0)
    elif failure == 0:
        m.by_clock = False
    else:
        stranger_by_clock(m, failure)
