"""What conmon does to its own process: oom score, daemon, session (C4.3, C4.7, C4.11, C4.12)."""

import errno
import posix

from conmon import _fastio, diag

Texts = dict[str, "bytes | list[bytes] | None"]

_OOM_SCORE = b"/proc/self/oom_score_adj"
_CHILDREN = b"/proc/thread-self/children"
_CHILDREN_SIZE = 4096
_DUP_TRIES = 100
_END_LOOKS, _END_LOOK_MS = 100, 10
_SIGKILL = 9


def protect_from_oom_killer() -> int | None:
    """Exempt conmon; the score that it had, for what it starts. None where there is none."""
    try:
        fd = posix.open(_OOM_SCORE, posix.O_RDWR | posix.O_CLOEXEC)
    except OSError as error:
        diag.debug(b"failed to open %b: %b" % (_OOM_SCORE, diag.strerror(error)))
        return None
    score = None
    try:
        score = int(posix.read(fd, 16))
        posix.write(fd, b"-1000")
    except OSError as error:
        diag.debug(b"failed to write to %b: %b" % (_OOM_SCORE, diag.strerror(error)))
    finally:
        _fastio.close_fd(fd)
    return score


def daemonize() -> int:
    """Go on in a child; the gate that lets the parent exit 0: see `announce`. diag.Fatal."""
    gate_read, gate_write = posix.pipe2(posix.O_CLOEXEC)
    try:
        _fastio.go_on_in_child(gate_read, gate_write)
    except OSError as error:
        raise diag.Fatal(b"Failed to fork: " + diag.strerror(error)) from None
    _fastio.close_fd(gate_read)
    return gate_write


def announce(gate: int, pidfile: bytes | None) -> None:
    """Write the pid file, then let the parent of `daemonize` exit 0.

    Nothing is started before the pid file is there: where it cannot be written, both end and no
    monitor is left behind (C20.20). diag.Fatal.
    """
    if pidfile is not None:
        try:
            _fastio.write_atomically(pidfile, b"%d" % posix.getpid())
        except OSError as error:
            raise diag.Fatal(
                b"Failed to write conmon pidfile: %b: %b" % (pidfile, diag.strerror(error))
            ) from None
    try:
        posix.write(gate, b"\0")
    except OSError:  # somebody has ended the parent: nobody will hear of us
        if pidfile is not None:
            posix.unlink(pidfile)
        posix._exit(1)
    _fastio.close_fd(gate)


def dup2(fd: int, number: int, inheritable: bool = True) -> int:
    """dup2(2) again where it was interrupted, or met an open(2). OSError."""
    for _ in range(_DUP_TRIES):
        try:
            return posix.dup2(fd, number, inheritable)
        except OSError as error:
            if error.errno not in (errno.EINTR, errno.EBUSY):
                raise
    return posix.dup2(fd, number, inheritable)


def drop_stdio(null: int) -> None:
    """Let go of the caller's stdio: podman waits until nobody holds it. OSError."""
    for fd in (0, 1, 2):
        dup2(null, fd)


def lead_session() -> None:
    """Leave the caller's session; adopt what the runtime leaves behind. diag.Fatal."""
    try:
        posix.setsid()
    except PermissionError:
        pass  # a group leader already, with --sync
    try:
        _fastio.set_subreaper()
    except OSError as error:
        raise diag.Fatal(b"Failed to set as subreaper: " + diag.strerror(error)) from None


def end_children() -> None:
    """End what a runtime has left below us: a container that nobody will hear of (C21.10)."""
    try:
        fd = posix.open(_CHILDREN, posix.O_RDONLY | posix.O_CLOEXEC)
        pids = [int(pid) for pid in posix.read(fd, _CHILDREN_SIZE).split()]
        _fastio.close_fd(fd)
        for pid in pids:
            posix.kill(pid, _SIGKILL)
        for _ in range(_END_LOOKS):
            if not any(map(_lives, pids)):
                return
            _fastio.wait_readable([], _END_LOOK_MS)
    except OSError as error:  # not every kernel tells who they are
        diag.warn(b"Failed to kill the processes that the runtime left: " + diag.strerror(error))


def _lives(pid: int) -> bool:
    """Whether a child is still at its end, which may take its time. OSError."""
    options = posix.WEXITED | posix.WNOHANG | posix.WNOWAIT
    return posix.waitid(posix.P_PID, pid, options) is None


def is_child(pid: int) -> bool:
    """Whether there is a child of this pid, alive or dead: a pid that was reaped may come again."""
    try:
        posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def run_exit_command(argv: list[bytes], status: int) -> int:
    """Hand over to the linger life, which waits at no cost; conmon's exit status if it cannot.

    That of the exit command counts if it fails, else `status`.
    """
    try:
        return _fastio.enter_linger(status, argv)
    except (OSError, MemoryError) as error:
        diag.warn(
            b"Cannot start a clean process, lingering in this one: " + diag.internal_error(error)
        )
    return _fastio.linger()
