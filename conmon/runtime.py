"""The OCI runtime: its command line, its run, the pid that it leaves (C4.16 to C4.21, C5)."""

import errno
import posix

from conmon import _fastio, channels, cli, diag
from conmon.console import Console

# a runtime may write this much to each of stdout and stderr before it is done
_HELD_LIMIT = 1 << 20
# and an exec session's, which may be the session itself, this much
_SESSION_LIMIT = 64 << 20
_READ_SIZE = 1 << 16
# C conmon reads this much of a failed runtime's stderr; a message to the parent holds less
_ERROR_SIZE = 8191
# poll() takes an int; a longer wait is begun anew
POLL_MS = 1 << 30
# errors that say nothing of the file; how often, and when, it is tried again
_PASSING = (errno.EINTR, errno.EIO, errno.ENFILE, errno.EMFILE, errno.ENOMEM)
_PID_TRIES, _PID_RETRY_MS = 50, 20
_SIGCHLD, _SIGHUP, _SIGKILL, _SIGUSR1 = 17, 1, 9, 10
_NOT_PASSED = (_SIGCHLD, _SIGHUP, _SIGUSR1)


def command(options: cli.Options, console_socket: bytes | None = None) -> list[bytes]:
    """The runtime's argv. Words are separate: watchers of the host read them (OCI runtime CLI)."""
    argv = [options.runtime or b""]
    pidfile = options.container_pidfile or b""
    if options.systemd_cgroup and not options.exec_mode:
        argv.append(b"--systemd-cgroup")
    argv += options.runtime_args
    if options.exec_mode:
        argv += [b"exec", b"--pid-file", pidfile,
                 b"--process", options.exec_process_spec or b"", b"--detach"]  # fmt: skip
    else:
        bundle = options.bundle or b""
        argv += [b"create" if options.restore is None else b"restore",
                 b"--bundle", bundle, b"--pid-file", pidfile]  # fmt: skip
        if options.no_pivot:
            argv.append(b"--no-pivot")
        if options.no_new_keyring:
            argv.append(b"--no-new-keyring")
        if options.restore is not None:
            argv += [b"--detach", b"--image-path", options.restore, b"--work-path", bundle]
    argv += options.runtime_opts
    if console_socket is not None:
        argv += [b"--console-socket", console_socket]
    argv.append(options.cid or b"")
    return argv


class HeldOutput:
    """What came through stdout and stderr, and who ended, while the runtime ran.

    Beyond the limit it is counted only. An exec session's own output comes through the same
    streams: see `enough`. `ended`: exit codes by pid, the runtime's and the container's among them.
    """

    __slots__ = ("dropped", "ended", "limit", "session_pidfile", "stderr", "stdout", "timed_out")

    def __init__(self, session_pidfile: bytes | None) -> None:
        self.session_pidfile = session_pidfile
        self.limit = _HELD_LIMIT if session_pidfile is None else _SESSION_LIMIT
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.dropped = 0
        self.ended: dict[int, int] = {}
        self.timed_out = False

    def read(self, fd: int, target: bytearray) -> bool:
        """Read once from a stream; False at its end."""
        try:
            data = posix.read(fd, _READ_SIZE)
        except BlockingIOError:
            return True
        except OSError as error:
            diag.warn(b"Failed to read the runtime's output: " + diag.strerror(error))
            return False
        if len(target) < self.limit:
            target += data
        else:
            self.dropped += len(data)
        return bool(data)

    def reap(self) -> None:
        """Note all children that are dead, and let them go (C21.3).

        What hooks leave behind ends up with us, and a zombie keeps its PID namespace from ending.
        """
        try:
            pid, status = posix.waitpid(-1, posix.WNOHANG)
            while pid:
                code = posix.waitstatus_to_exitcode(status)
                self.ended[pid] = code if code >= 0 else 128 - code
                pid, status = posix.waitpid(-1, posix.WNOHANG)
        except ChildProcessError:
            pass

    def enough(self) -> bool:
        """Whether the monitor had better go on: with a session that is there and writes much.

        Its runtime may have more to say as well, and neither must stand still for the other.
        """
        if self.session_pidfile is None or len(self.stdout) + len(self.stderr) < _HELD_LIMIT:
            return False
        try:
            return read_pid(self.session_pidfile) > 0
        except (OSError, ValueError):
            return False


class Timeout:
    """--timeout, from now on."""

    __slots__ = ("_end",)

    def __init__(self, seconds: int) -> None:
        self._end = posix.times().elapsed + seconds if seconds > 0 else None

    def left_ms(self) -> int:
        """Milliseconds that are left; -1 where there is no timeout."""
        if self._end is None:
            return -1
        return max(0, int((self._end - posix.times().elapsed) * 1000))


def check_signals(signal_fd: int) -> None:
    """Start no runtime where we were told to end before there was one. diag.Fatal."""
    while number := _fastio.read_signal(signal_fd):
        if number not in _NOT_PASSED:
            raise diag.Fatal(b"Ended by signal %d before the container was created" % number)


def wait(
    pid: int,
    stdio: channels.Stdio,
    signal_fd: int,
    console: Console | None,
    session_pidfile: bytes | None,
    timeout: Timeout,
) -> tuple[int, HeldOutput]:
    """Wait for the runtime; its exit code (128 + n for a signal) and what was written meanwhile.

    stdout and stderr are read all the time: a runtime with more to say than a pipe holds must
    not stand still (C20.6). Signals that would end us are the runtime's while there is no
    container. `session_pidfile`: of an exec session, else None; of a session that writes much
    the runtime may not have ended (0). After the timeout the runtime is killed: `timed_out`.
    """
    held = HeldOutput(session_pidfile)
    signals = Signals(pid, signal_fd, held)
    streams = {stdio.stdout: held.stdout, stdio.stderr: held.stderr}
    streams.pop(-1, None)
    while True:
        console_fds = console.fds() if console is not None else []
        left = -1 if held.timed_out else min(timeout.left_ms(), POLL_MS)
        ready = _fastio.wait_readable([*console_fds, signal_fd, *streams], left)
        if console is not None:
            # before all else: the container may look at its terminal at any moment
            console.handle(ready)
        if left == 0:
            held.timed_out = True
            posix.kill(pid, _SIGKILL)
        for fd in ready:
            if fd in streams and not held.read(fd, streams[fd]):
                del streams[fd]
        status = signals.take() if signal_fd in ready else None
        if status is not None:
            if held.dropped:
                diag.warn(b"%d bytes of the runtime's output were not kept" % held.dropped)
            return status, held
        if held.enough() and (console is None or console.terminal >= 0):
            return 0, held


class Signals:
    """Signals that conmon gets while the runtime runs.

    They are passed on to the runtime. If it does not die of one, because it ignores the signal or
    had ended before, the signal stays pending, and the monitor life passes it to the container.
    """

    __slots__ = ("_fd", "_held", "_passed", "_pid")

    def __init__(self, pid: int, fd: int, held: HeldOutput) -> None:
        self._pid = pid
        self._fd = fd
        self._held = held
        self._passed: set[int] = set()

    def take(self) -> int | None:
        """Handle one signal, or the runtime's end: its exit code, 128 + n for a signal.

        After the end nothing is read any more: what is pending stays so.
        """
        status = self._reap()
        if status is not None:
            return status
        number = _fastio.read_signal(self._fd)
        if number == _SIGCHLD:
            return self._reap()
        if number and number not in _NOT_PASSED:
            self._passed.add(number)
            posix.kill(self._pid, number)
        return None

    def _reap(self) -> int | None:
        self._held.reap()
        code = self._held.ended.get(self._pid)
        if code is not None:
            for number in self._passed - {code - 128}:
                posix.kill(posix.getpid(), number)
        return code


def error_text(stdio: channels.Stdio, held: HeldOutput) -> bytes | None:
    """What the runtime said on stderr before it failed; None if it said nothing.

    Only what is there is read: a child of the runtime may hold the pipe open for ever.
    """
    while stdio.stderr >= 0 and len(held.stderr) < _ERROR_SIZE:
        try:
            data = posix.read(stdio.stderr, _ERROR_SIZE)
        except OSError:  # nothing more is there, in most cases
            break
        if not data:
            break
        held.stderr += data
    return bytes(held.stderr[:_ERROR_SIZE]) or None


def read_pid(path: bytes) -> int:
    """The container's pid from the runtime's pid file. OSError; ValueError if it holds none."""
    # a fifo in its place has no pid either
    fd = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)
    try:
        text = posix.read(fd, 64).strip()
    finally:
        _fastio.close_fd(fd)
    pid = int(text) if text.isdigit() and len(text) < 10 else 0
    if pid <= 0:
        raise ValueError(text)
    return pid


def find_pid(path: bytes) -> int:
    """read_pid, tried again for a second where it is not the file that is at fault.

    The container runs: what the system lacks for a moment must not cost us its exit code.
    """
    for _ in range(_PID_TRIES):
        try:
            return read_pid(path)
        except OSError as error:
            if error.errno not in _PASSING:
                raise
        _fastio.wait_readable([], _PID_RETRY_MS)
    return read_pid(path)


def owns_listen_pid(options: cli.Options) -> bool:
    """Whether LISTEN_PID, set for us by systemd's rules, must name the runtime. diag.Fatal."""
    text = _fastio.getenv(b"LISTEN_PID")
    if text is None:
        return False
    pid = int(text) if text.isdigit() and len(text) < 10 else 0
    if pid <= 0:
        raise diag.Fatal(b"Invalid LISTEN_PID " + text[:10])
    return options.replace_listen_pid or pid == posix.getpid()
