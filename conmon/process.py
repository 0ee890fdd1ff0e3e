"""What conmon does to its own process: oom score, daemon, session (C4 steps 3, 6, 7, 11, 12)."""

import errno
import posix

from conmon import _fastio, diag

Texts = dict[str, "bytes | list[bytes] | None"]

_OOM_SCORE = b"/proc/self/oom_score_adj"
_DUP_TRIES = 100


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


def daemonize(pidfile: bytes | None) -> None:
    """Go on in a child, which writes the pid file; then the parent exits 0.

    Nothing is started before the pid file is there: where it cannot be written, both end and no
    monitor is left behind (C20.20). Returns in the child only. diag.Fatal.
    """
    gate_read, gate_write = posix.pipe2(posix.O_CLOEXEC)
    try:
        _fastio.go_on_in_child(gate_read, gate_write)
    except OSError as error:
        raise diag.Fatal(b"Failed to fork: " + diag.strerror(error)) from None
    _fastio.close_fd(gate_read)
    if pidfile is not None:
        try:
            _fastio.write_atomically(pidfile, b"%d" % posix.getpid())
        except OSError as error:
            raise diag.Fatal(
                b"Failed to write conmon pidfile: %b: %b" % (pidfile, diag.strerror(error))
            ) from None
    try:
        posix.write(gate_write, b"\0")
    except OSError:  # somebody has ended the parent: nobody will hear of us
        if pidfile is not None:
            posix.unlink(pidfile)
        posix._exit(1)
    _fastio.close_fd(gate_write)


def _dup2(fd: int, number: int) -> None:
    """dup2(2) again where it was interrupted, or met an open(2). OSError."""
    for _ in range(_DUP_TRIES):
        try:
            posix.dup2(fd, number)
            return
        except OSError as error:
            if error.errno not in (errno.EINTR, errno.EBUSY):
                raise
    posix.dup2(fd, number)


def drop_stdio(null: int) -> None:
    """Let go of the caller's stdio: podman waits until nobody holds it."""
    for fd in (0, 1, 2):
        try:
            _dup2(null, fd)
        except OSError as error:  # not worth a container that may run by now
            diag.warn(b"Failed to let go of fd %d: %b" % (fd, diag.strerror(error)))


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


def is_child(pid: int) -> bool:
    """Whether there is a child of this pid, alive or dead: a pid that was reaped may come again."""
    try:
        posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def run_exit_command(argv: list[bytes], fields: dict[str, int], texts: Texts) -> int:
    """Hand over to the linger life, which waits at no cost; conmon's exit status if it cannot."""
    fields["sync_fd"] = -1
    try:
        return _fastio.enter_life(_fastio.LINGER, fields, texts, argv)
    except (OSError, MemoryError) as error:
        diag.warn(b"Failed to enter the linger life: " + diag.internal_error(error))
    return _fastio.linger(fields, texts)
