"""What containers write: files of equal lines in memory, which `cat` reads several times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FILE_BYTES = 20_000_000  # one file; less than the caches of a server, so that `cat` is fast
MB = 1_000_000


@dataclass(frozen=True)
class Feed:
    """Lines to write. `words` are the command that writes them to its standard output."""

    words: list[str]
    bytes: int
    lines: int

    @property
    def command(self) -> str:
        """The container process, as a shell fragment."""
        return "exec " + " ".join(self.words)


@contextmanager
def lines(ram: Path, length: int, megabytes: int) -> Iterator[Feed]:
    """About so many MB of lines of `length` bytes, newline included; the file is removed after."""
    size = min(FILE_BYTES, megabytes * MB)
    path = ram / f"lines-{length}"
    line = b"x" * (length - 1) + b"\n"
    count = size // length
    path.write_bytes(line * count)
    times = max(1, megabytes * MB // size)
    try:
        yield Feed(["cat", *[str(path)] * times], times * count * length, times * count)
    finally:
        path.unlink()
