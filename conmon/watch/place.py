"""Files as another process sees them: below its root, in its mount namespace."""

from __future__ import annotations

import ctypes
import os
import stat
import struct

from conmon.watch import libc

_OPENAT2 = 437  # on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10
_HOW = struct.Struct("=QQQ")
_READ = os.O_NONBLOCK | os.O_NOCTTY  # never wait for the writer of a fifo
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Place:
    """The root directory and the working directory of a process. They outlast the process.

    Links in paths are followed as the process itself would, which a path of the form
    /proc/PID/root/... is not good for: an absolute link would lead into our own root.
    """

    def __init__(self, root: str, cwd: str) -> None:
        self._root = os.open(root, _DIRECTORY)
        self._cwd = cwd

    @classmethod
    def of(cls, pid: int) -> Place:
        """The place of a process. OSError."""
        return cls(f"/proc/{pid}/root", os.readlink(f"/proc/{pid}/cwd"))

    def path(self, path: str) -> str:
        """A path of the process, made absolute."""
        return os.path.normpath(os.path.join(self._cwd, path))

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a path of the process, for reading or with O_PATH. OSError."""
        flags |= os.O_CLOEXEC | (0 if flags & os.O_PATH else _READ)
        how = _HOW.pack(flags, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        name = os.fsencode(os.path.join(self._cwd, path))
        size = ctypes.c_size_t(len(how))
        return libc.system_call(_OPENAT2, self._root, name, how, size)

    def read(self, path: str, limit: int) -> bytes:
        """The content of a regular file. OSError, also if it has more than `limit` bytes."""
        fd = self.open(path)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode) or info.st_size > limit:
                raise OSError(f"{path} is no file of at most {limit} bytes")
            with open(fd, "rb", closefd=False) as file:
                data = file.read(limit + 1)
        finally:
            os.close(fd)
        if len(data) > limit:
            raise OSError(f"{path} has more than {limit} bytes")
        return data

    def identity(self, path: str) -> tuple[int, int, int, int] | None:
        """What changes when a file is written anew; None if there is none."""
        try:
            fd = self.open(path, os.O_PATH)
        except OSError:
            return None
        try:
            info = os.fstat(fd)
        finally:
            os.close(fd)
        return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size

    def close(self) -> None:
        """Let the directories go."""
        os.close(self._root)
