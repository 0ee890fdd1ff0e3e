"""A person at a terminal: podman on a pseudo-terminal that the test types into."""

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from types import TracebackType
from typing import Self

from .client import Podman

TIMEOUT_S = 30


class Terminal:
    """``podman ARGS`` with a new pseudo-terminal as its controlling terminal."""

    def __init__(self, podman: Podman, *args: str, rows: int = 24, columns: int = 80) -> None:
        self._master, slave = os.openpty()
        self.resize(rows, columns)
        self._seen = b""
        command = ["setsid", "--ctty", "--wait", *podman.argv(args, {"TERM": "xterm"})]
        try:
            self._process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
        finally:
            os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
        os.close(self._master)

    def resize(self, rows: int, columns: int) -> None:
        """Set the window's size; the kernel tells the foreground processes."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def type(self, data: bytes) -> None:
        """Type ``data``, all of it."""
        while data:
            data = data[os.write(self._master, data) :]

    def _read(self, deadline: float) -> bytes:
        """What the terminal shows next; empty at its end. Raises TimeoutError."""
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self._master], [], [], left)[0]:
            raise TimeoutError(f"nothing more on the terminal after {self._seen[-500:]!r}")
        try:
            return os.read(self._master, 65536)
        except OSError:
            return b""  # EIO: the last process has closed the terminal

    def read_until(self, wanted: bytes) -> bytes:
        """What was shown up to and with ``wanted``. Raises TimeoutError, EOFError."""
        deadline = time.monotonic() + TIMEOUT_S
        while wanted not in self._seen:
            data = self._read(deadline)
            if not data:
                raise EOFError(f"no {wanted!r} in what was shown: {self._seen[-500:]!r}")
            self._seen += data
        end = self._seen.index(wanted) + len(wanted)
        shown, self._seen = self._seen[:end], self._seen[end:]
        return shown

    def end(self) -> tuple[int, bytes]:
        """Wait for podman to end: its exit code, and what it showed until then."""
        deadline = time.monotonic() + TIMEOUT_S
        while data := self._read(deadline):
            self._seen += data
        shown, self._seen = self._seen, b""
        return self._process.wait(timeout=TIMEOUT_S), shown
