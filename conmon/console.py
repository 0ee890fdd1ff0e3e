"""The console socket: how the runtime hands the container's terminal over (C13; OCI runtime CLI).

The runtime connects to a socket that is named on its command line and sends one fd, the pty's
master, as SCM_RIGHTS. Nothing here waits: a runtime that dies first is noticed as usual.

Nor does the runtime wait for us: runc's init sends, closes and goes on to execute the command; of
crun one process sends while another becomes the command. So what the command is to find must be
set at once, before all else: there are a few milliseconds until its first look.
"""

import posix

from conmon import _fastio, diag, process
from conmon.control import Control

_BACKLOG = 128
# a socket address holds 107 bytes; the rest of the name is for the file
_DIRECTORY_LIMIT = 107 - len(b"/conmon-term.XXXXXX")


class Console:
    """Listens, takes one connection, takes one terminal and makes it ready.

    `spare` is an fd whose place the terminal's second fd takes: there may be no other left then.
    """

    __slots__ = ("_connection", "_control", "_listener", "path", "spare", "terminal")

    def __init__(self, control: Control, null: int) -> None:
        """Listen in $TMPDIR, or /tmp where that is not set or too long to be named. diag.Fatal."""
        directory = _fastio.getenv(b"TMPDIR") or b"/tmp"
        if len(directory) > _DIRECTORY_LIMIT:
            directory = b"/tmp"
        self.terminal = -1
        self._connection = -1
        self._control = control
        try:
            self.spare = posix.dup(null)
            self.path, self._listener = _listen(directory)
        except OSError as error:
            raise diag.Fatal(b"Failed to make a console socket: " + diag.strerror(error)) from None

    def fds(self) -> list[int]:
        """What to wait for. The fifos are served until the monitor does it."""
        console = [fd for fd in (self._listener, self._connection) if fd >= 0]
        return console + self._control.fds()

    def handle(self, ready: list[int]) -> None:
        """Something came on some of `fds`. The terminal first: the container may run already."""
        if self._listener in ready or self._connection in ready:
            self._receive()
        if self._control.read() and self.terminal >= 0:
            self._resize()

    def _receive(self) -> None:
        try:
            if self._connection < 0:
                self._connection = _fastio.accept(self._listener)
            self._take(_fastio.receive_fds(self._connection))
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            pass  # another may come
        except OSError as error:
            # no end yet: a runtime that has failed says why itself, when it ends
            diag.warn(b"Failed to receive the terminal: " + diag.strerror(error))
            self.close()
        if self._connection >= 0:
            self._close_listener()

    def _take(self, fds: list[int]) -> None:
        """Take the terminal, if exactly one fd came; then no more is waited for."""
        if len(fds) == 1:
            self.terminal = fds[0]
            self._prepare()
        else:
            for fd in fds:
                _fastio.close_fd(fd)
            diag.warn(b"Failed to receive the terminal: got %d fds, expected 1" % len(fds))
        self.close()

    def _prepare(self) -> None:
        """What the container is to find: the size, if one was asked for by now, and newlines."""
        self._control.read()
        self._resize()
        try:
            _fastio.prepare_terminal(self.terminal)
        except OSError as error:
            diag.warn(b"Failed to set up the terminal: " + diag.strerror(error))

    def _resize(self) -> None:
        if self._control.size is None:
            return
        try:
            _fastio.resize_terminal(self.terminal, *self._control.size)
        except OSError as error:
            diag.warn(b"Failed to set the terminal size: " + diag.strerror(error))

    def finish(self) -> None:
        """The runtime has ended: take what it has sent by now, and leave no socket behind."""
        self.handle(_fastio.wait_readable(self.fds(), 0))
        self.close()

    def second_fd(self) -> int:
        """Another fd of the terminal, to write to; -1, reported, if there is none."""
        try:
            return process.dup2(self.terminal, self.spare, inheritable=False)
        except OSError:
            _fastio.close_fd(self.spare)
        try:
            return posix.dup(self.terminal)
        except OSError as error:
            diag.error(b"Cannot write to the terminal: " + diag.strerror(error))
            return -1

    def close(self) -> None:
        """Stop waiting; the terminal, if it came, stays."""
        self._close_listener()
        _fastio.close_fd(self._connection)
        self._connection = -1

    def _close_listener(self) -> None:
        if self._listener >= 0:
            _fastio.close_fd(self._listener)
            self._listener = -1
            try:
                posix.unlink(self.path)
            except OSError as error:
                diag.debug(b"failed to remove %b: %b" % (self.path, diag.strerror(error)))


def _listen(directory: bytes) -> tuple[bytes, int]:
    """The path of a new socket in the directory, and the socket, which listens. OSError."""
    path = _fastio.unused_path(directory + b"/conmon-term.")
    return path, _fastio.listen_stream(path, _BACKLOG)
