"""A person at a terminal: a command on a pseudo-terminal that the test types into."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TIMEOUT_S = 30


class Person:
    """One command with a new pseudo-terminal as its controlling terminal."""

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        rows: int = 24,
        columns: int = 80,
        **streams: Any,
    ) -> None:
        self._master, self._slave = os.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self._slave)
        self._seen = b""
        given = {"stdin": self._slave, "stdout": self._slave, "stderr": self._slave} | streams
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command],
            env={**environment, "TERM": "xterm"},
            **given,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def resize(self, rows: int, columns: int) -> None:
        """Set the window's size; the kernel tells the foreground processes."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def type(self, data: bytes) -> None:
        """Type something short."""
        os.write(self._master, data)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the foreground processes."""
        os.killpg(os.tcgetpgrp(self._master), number)

    def settings(self) -> list[Any]:
        """What stty tells: of a terminal that is as it was, it equals `before`."""
        return termios.tcgetattr(self._slave)

    def read_until(self, wanted: bytes) -> bytes:
        """What was shown up to and with `wanted`. AssertionError after TIMEOUT_S."""
        deadline = time.monotonic() + TIMEOUT_S
        while wanted not in self._seen:
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([self._master], [], [], left)[0]
            assert ready, f"no {wanted!r} in {self._seen[-500:]!r}"
            self._seen += os.read(self._master, 65536)
        end = self._seen.index(wanted) + len(wanted)
        shown, self._seen = self._seen[:end], self._seen[end:]
        return shown

    def end(self) -> int:
        """Wait for the command's end: its status."""
        return self.process.wait(timeout=TIMEOUT_S)
