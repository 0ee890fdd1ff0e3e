"""The console socket: how the runtime hands the container's terminal over (C13; OCI runtime CLI).

The runtime connects to a socket that is named on its command line and sends one fd, the pty's
master, as SCM_RIGHTS. Nothing here waits: a runtime that dies first is noticed as usual.
"""

import posix

from conmon import _fastio, diag

_BACKLOG = 128
# a socket address holds 107 bytes; the rest of the name is for the file
_DIRECTORY_LIMIT = 107 - len(b"/conmon-term.XXXXXX")


class Console:
    """Listens, takes one connection, takes one terminal."""

    __slots__ = ("_connection", "_listener", "path", "terminal")

    def __init__(self) -> None:
        """Listen in $TMPDIR, or /tmp where that is not set or too long to be named. diag.Fatal."""
        directory = _fastio.getenv(b"TMPDIR") or b"/tmp"
        if len(directory) > _DIRECTORY_LIMIT:
            directory = b"/tmp"
        self.terminal = -1
        self._connection = -1
        try:
            self.path = _fastio.unused_path(directory + b"/conmon-term.")
            self._listener = _fastio.listen_stream(self.path, _BACKLOG)
        except OSError as error:
            raise diag.Fatal(b"Failed to make a console socket: " + diag.strerror(error)) from None

    def fds(self) -> list[int]:
        """What to wait for."""
        return [fd for fd in (self._listener, self._connection) if fd >= 0]

    def handle(self, fd: int) -> None:
        """Something came on one of `fds`."""
        try:
            if fd == self._listener:
                self._connection = _fastio.accept(fd)
                self._close_listener()
            else:
                self.terminal = _fastio.receive_fd(fd)
                posix.close(fd)
                self._connection = -1
        except BlockingIOError:
            pass
        except OSError as error:
            # no end yet: a runtime that has failed says why itself, when it ends
            diag.warn(b"Failed to receive the terminal: " + diag.strerror(error))
            self.close()

    def finish(self) -> None:
        """The runtime has ended: take what it has sent by now, and leave no socket behind."""
        for _ in (self._listener, self._connection):
            for fd in _fastio.wait_readable(self.fds(), 0):
                self.handle(fd)
        self.close()

    def close(self) -> None:
        """Stop waiting; the terminal, if it came, stays."""
        self._close_listener()
        if self._connection >= 0:
            posix.close(self._connection)
            self._connection = -1

    def _close_listener(self) -> None:
        if self._listener >= 0:
            posix.close(self._listener)
            self._listener = -1
            try:
                posix.unlink(self.path)
            except OSError as error:
                diag.debug(b"failed to remove %b: %b" % (self.path, diag.strerror(error)))
