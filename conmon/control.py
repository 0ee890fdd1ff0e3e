"""The ctl and winsz fifos while the runtime runs (C13).

A terminal needs its size before the container's first instruction, so resizes are taken at once.
All else, a log to reopen or a line that makes no sense, is kept for the monitor.
"""

import posix

from conmon import _fastio

# what a fifo holds, too: beyond this the writer waits, as it does for a monitor that is busy
_KEEP_LIMIT = 65536
# bytes of a line, newline included, that the monitor reads as one
_LINE_LIMIT = 200


class Fifo:
    """What comes through one of the two. fd -1: there is none."""

    __slots__ = ("_is_ctl", "_line", "_others", "fd")

    def __init__(self, fd: int, *, is_ctl: bool) -> None:
        self.fd = fd
        self._is_ctl = is_ctl
        self._others = bytearray()
        self._line = b""

    def open(self) -> bool:
        """Whether it is there, and there is room for what it brings."""
        return self.fd >= 0 and len(self._others) + len(self._line) < _KEEP_LIMIT

    def read(self) -> tuple[int, int] | None:
        """Take what is there: rows and columns of the last resize in it. Never waits."""
        try:
            data = posix.read(self.fd, _KEEP_LIMIT)
        except OSError:  # nothing there; any other error the monitor will find and report
            return None
        *lines, self._line = (self._line + data).split(b"\n")
        size = None
        for line in lines:
            wanted = _fastio.resize_of(line, self._is_ctl) if len(line) < _LINE_LIMIT else None
            if wanted is None:
                self._others += line + b"\n"
            else:
                size = wanted
        return size

    def kept(self) -> bytes | None:
        """What is for the monitor: a text of the record, where a NUL would be its end.

        To the parser a NUL is the end of a line's numbers, as any other character is.
        """
        return bytes(self._others + self._line).replace(b"\0", b"?") or None


class Control:
    """Both, and the size that was asked for last."""

    __slots__ = ("ctl", "size", "winsz")

    def __init__(self, ctl_fd: int, winsz_fd: int) -> None:
        self.ctl = Fifo(ctl_fd, is_ctl=True)
        self.winsz = Fifo(winsz_fd, is_ctl=False)
        self.size: tuple[int, int] | None = None

    def fds(self) -> list[int]:
        """What to wait for."""
        return [fifo.fd for fifo in (self.ctl, self.winsz) if fifo.open()]

    def read(self) -> bool:
        """Take what is there; whether a size was asked for. Never waits."""
        sizes = [fifo.read() for fifo in (self.winsz, self.ctl) if fifo.open()]
        for size in sizes:
            self.size = size or self.size
        return any(sizes)
