"""What containers write."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from bench import PROJECT

MB = 1_000_000
PROGRAMS = PROJECT / "bench" / "programs"


def program(name: str, *words: object) -> list[str]:
    """The command that runs one of our programs, without what a Python installation adds."""
    return [sys.executable, "-IS", str(PROGRAMS / name), *map(str, words)]


@dataclass(frozen=True)
class Feed:
    """Lines of `length` bytes, newline included, about so many MB of them."""

    length: int
    megabytes: int

    @property
    def lines(self) -> int:
        """How many lines there are."""
        return self.megabytes * MB // self.length

    @property
    def bytes(self) -> int:
        """How many bytes that are."""
        return self.lines * self.length

    def words(self, go: Path | str) -> list[str]:
        """The command that writes them when a line has come through the fifo `go`."""
        return program("flood.py", go, self.length, self.lines)

    @property
    def command(self) -> str:
        """The container process, as a shell fragment; it waits for Container.go()."""
        return "exec " + " ".join(self.words("go"))
