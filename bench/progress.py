"""One line that tells how far a run is, on a terminal only."""

from __future__ import annotations

import sys
import time

PAUSE_S = 0.2  # a terminal that is busy with the line would be noise of our own


class Progress:
    """The line on standard error."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._number = 0
        self._title = ""
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def row(self, title: str) -> None:
        """Another row begins."""
        self._number += 1
        self._title = title
        self._last = 0.0
        self.say("")

    def say(self, text: str) -> None:
        """What is going on in this row."""
        if self._shown and time.monotonic() - self._last >= PAUSE_S:
            self._last = time.monotonic()
            line = f"[{self._number}/{self._count}] {self._title}: {text}"
            sys.stderr.write(f"\r\033[K{line[:100]}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
