"""inotify(7): changes of files and directories, to wait for without polling."""

from __future__ import annotations

import contextlib
import enum
import os
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from conmon.host import libc

_EVENT = struct.Struct("@iIII")
_READ_SIZE = 1 << 16


class Mask(enum.IntFlag):
    """Kinds of changes."""

    MODIFY = 0x2
    ATTRIB = 0x4
    CLOSE_WRITE = 0x8
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    IGNORED = 0x8000
    ONLYDIR = 0x0100_0000


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to `name` in the directory of `watch`, or to its file.

    `watch` is -1 when changes were lost (IN_Q_OVERFLOW).
    """

    watch: int
    mask: Mask
    name: str


class Inotify:
    """A set of watched files and directories; `fd` is readable when there are changes."""

    def __init__(self) -> None:
        self.fd = libc.call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)

    def add(self, path: str, mask: Mask) -> int:
        """Watch a directory; the number of its watch. The same directory has the same. OSError."""
        return libc.call("inotify_add_watch", self.fd, os.fsencode(path), mask | Mask.ONLYDIR)

    def add_fd(self, fd: int, mask: Mask) -> int:
        """Watch what is open (O_PATH will do), whatever becomes of its name. OSError."""
        return libc.call("inotify_add_watch", self.fd, b"/proc/self/fd/%d" % fd, int(mask))

    def remove(self, watch: int) -> None:
        """End a watch; one that has ended with its file is no fault."""
        with contextlib.suppress(OSError):
            libc.call("inotify_rm_watch", self.fd, watch)

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.fd)
