"""The reader of a log that is a fifo."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time
from pathlib import Path

from harness_os import Deadline, wait_fd


def unread(fd: int) -> int:
    """Bytes in a pipe, either end of which is given."""
    (size,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    return int(size)


class FifoReader:
    """Reads a fifo, at its own pace; `data` is what it has read so far."""

    def __init__(self, path: Path | int) -> None:
        """Open a fifo, or take the end of a pipe."""
        if isinstance(path, int):
            self._fd = path
        else:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.data = b""

    def waiting(self) -> int:
        """Bytes in the fifo that nobody has read."""
        return unread(self._fd)

    def wait_full(self) -> None:
        """Wait until no more is taken than a page. Polled: a fifo that fills has no event."""
        deadline = Deadline()
        while self.waiting() <= fcntl.fcntl(self._fd, fcntl.F_GETPIPE_SZ) - 4096:
            assert not deadline.passed(), f"{self.waiting()} bytes wait in the fifo"
            time.sleep(0.002)

    def read(self) -> bytes:
        """Wait for more, and read it; `b""` when nobody has the fifo open for writing."""
        assert wait_fd(self._fd, Deadline()), f"nothing to read after {self.data[-100:]!r}"
        data = os.read(self._fd, 65536)
        self.data += data
        return data

    def read_until(self, end: bytes) -> bytes:
        """Read until `end` was read: all that was."""
        while end not in self.data[-len(end) - 65536 :]:
            assert self.read(), f"end of file before {end!r}"
        return self.data

    def read_all(self) -> bytes:
        """Read to the end: all that was read."""
        while self.read():
            pass
        return self.data

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
