"""inotify(7): changes of directories."""

from __future__ import annotations

import enum
import os
import struct
from dataclasses import dataclass

from conmon.watch import libc

_EVENT = struct.Struct("@iIII")
_READ_SIZE = 1 << 16


class Mask(enum.IntFlag):
    """Kinds of changes."""

    CLOSE_WRITE = 0x8
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    IGNORED = 0x8000
    ONLYDIR = 0x0100_0000


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `watch` is -1 when changes were lost (IN_Q_OVERFLOW)."""

    watch: int
    mask: Mask
    name: str


class Inotify:
    """A set of watched directories."""

    def __init__(self) -> None:
        self.fd = libc.call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)

    def add(self, path: str, mask: Mask) -> int:
        """Watch a directory; the number of its watch. The same directory has the same. OSError."""
        return libc.call("inotify_add_watch", self.fd, os.fsencode(path), mask | Mask.ONLYDIR)

    def read(self) -> list[Change]:
        """All changes up to now."""
        found: list[Change] = []
        while True:
            try:
                data = os.read(self.fd, _READ_SIZE)
            except BlockingIOError:
                return found
            while data:
                watch, mask, _, length = _EVENT.unpack_from(data)
                name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0")
                found.append(Change(watch, Mask(mask), os.fsdecode(name)))
                data = data[_EVENT.size + length :]
