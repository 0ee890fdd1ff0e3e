"""Files as another process sees them: below its root, in its mount namespace."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterator

from conmon.host import libc, procfs

_OPENAT2 = 437  # on every architecture
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT = 0x02, 0x10
_HOW = struct.Struct("=QQQ")
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Place:
    """The root directory and the working directory of a process. They outlast the process.

    Links in paths are followed as the process itself would, which a path of the form
    /proc/PID/root/... is not good for: an absolute link would lead into our own root. And files are
    opened with the rights of its user: who may name us a path must not read with ours.
    """

    def __init__(self, root: str, cwd: str, user: tuple[int, int] | None = None) -> None:
        self._root = os.open(root, _DIRECTORY)
        self._cwd = cwd
        self._user = user

    @classmethod
    def of(cls, pid: int) -> Place:
        """The place of a process. OSError."""
        status = procfs.status(pid)
        user = (status.uid, status.gid)
        return cls(f"/proc/{pid}/root", os.readlink(f"/proc/{pid}/cwd"), user)

    def path(self, path: str) -> str:
        """A path of the process, made absolute."""
        return os.path.normpath(os.path.join(self._cwd, path))

    def open(self, path: str, flags: int) -> int:
        """Open a path of the process, for reading or with O_PATH. OSError."""
        how = _HOW.pack(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        name = os.fsencode(os.path.join(self._cwd, path))
        size = ctypes.c_size_t(len(how))
        with self._as_user():
            return libc.system_call(_OPENAT2, self._root, name, how, size)

    def read(self, path: str, limit: int) -> bytes:
        """The content of a regular file. OSError, also if it has more than `limit` bytes."""
        fd = self.open(path, os.O_PATH)
        try:
            info = os.fstat(fd)
            # a fifo would make us wait, and a device may do anything when it is opened
            if not stat.S_ISREG(info.st_mode) or info.st_size > limit:
                raise OSError(f"{path} is no file of at most {limit} bytes")
            with self._as_user(), open(f"/proc/self/fd/{fd}", "rb") as file:
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

    @contextlib.contextmanager
    def _as_user(self) -> Iterator[None]:
        """Open files as the process's user may; of no effect without privileges (setfsuid(2))."""
        if self._user is None or self._user == (os.geteuid(), os.getegid()):
            yield
            return
        try:
            libc.call("setfsgid", self._user[1])
            libc.call("setfsuid", self._user[0])
            yield
        finally:
            libc.call("setfsuid", os.geteuid())
            libc.call("setfsgid", os.getegid())

    def close(self) -> None:
        """Let the directories go."""
        os.close(self._root)
