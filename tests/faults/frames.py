"""Which functions of conmon a call was made in: its symbols, where there are any."""

from __future__ import annotations

import bisect
import subprocess
from pathlib import Path

_SHOWN = 8


class Frames:
    """The text symbols of a program that is loaded where it was linked to."""

    def __init__(self, program: Path) -> None:
        self._addresses: list[int] = []
        self._names: list[str] = []
        self._read(program)

    def _read(self, path: Path) -> None:
        try:
            done = subprocess.run(
                ["nm", "-n", path], capture_output=True, text=True, timeout=60, check=False
            )
        except OSError:
            return
        for line in done.stdout.splitlines():
            address, _, rest = line.partition(" ")
            kind, _, name = rest.partition(" ")
            if kind in ("t", "T") and address:
                self._addresses.append(int(address, 16))
                self._names.append(name)

    def names(self, stack: list[int]) -> list[str]:
        """The likely call chain, innermost first: whatever on the stack points into a function."""
        found: list[str] = []
        for word in stack:
            at = bisect.bisect_right(self._addresses, word) - 1
            if at < 0 or word - self._addresses[at] > 1 << 16:
                continue
            if not found or found[-1] != self._names[at]:
                found.append(self._names[at])
        return found[:_SHOWN]
