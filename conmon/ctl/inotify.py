"""inotify(7): changes of files and directories, to wait for without polling."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
OVERFLOW = 0x4000

# struct inotify_event: int wd, uint32_t mask, cookie, len; then the name, filled up with NULs
_HEADER = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Event:
    """What happened (`mask`) to `name` in the directory that `watch` is of, or to the file."""

    watch: int
    mask: int
    name: bytes


class Inotify:
    """One instance; its fd is readable when there are events."""

    def __init__(self) -> None:
        self.fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "inotify")

    def add(self, fd: int, mask: int) -> int:
        """Watch what is open (O_PATH will do), whatever becomes of its name. OSError."""
        path = b"/proc/self/fd/%d" % fd
        watch: int = _libc.inotify_add_watch(self.fd, path, ctypes.c_uint32(mask))
        if watch < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "inotify")
        return watch

    def remove(self, watch: int) -> None:
        """End a watch; one that has ended with its file is no fault."""
        _libc.inotify_rm_watch(self.fd, watch)

    def read(self) -> Iterator[Event]:
        """The events that are there now; does not wait."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            watch, mask, _, size = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            yield Event(watch, mask, data[at : at + size].rstrip(b"\0"))
            at += size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.fd)
