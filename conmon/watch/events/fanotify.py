"""fanotify(7): processes are held while they execute a marked file, until they get an answer.

Closing the group lets all of them go on. So does the end of the process that holds it, if no
other process has inherited the fd.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass

from conmon.host import libc

_CLOEXEC, _NONBLOCK = 0x1, 0x2
_CLASS_CONTENT = 0x4
_UNLIMITED_QUEUE, _UNLIMITED_MARKS = 0x10, 0x20
# The thread, not its process: another thread than the first may call execve(2).
_REPORT_TID = 0x100
_MARK_ADD = 0x1
_OPEN_EXEC_PERM = 0x0004_0000
_ALLOW = 0x1
_QUEUE_OVERFLOW = 0x4000
_AT_FDCWD = -100

# struct fanotify_event_metadata: event_len, vers, reserved, metadata_len, mask, fd, pid
_METADATA = struct.Struct("=IBBHQii")
_VERSION = 3
_RESPONSE = struct.Struct("=iI")
# Events per read. Each takes an fd, and the kernel refuses the execve of a thread whose event finds
# none. So they are kept in reserve. Of what is reserved one is always left: to hold a thread takes
# another fd besides, for a moment.
_SPARE = 4


@dataclass(frozen=True, slots=True)
class HeldThread:
    """A thread that is held in execve; `fd` is the open file, and the name of the answer.

    `tid` is 0 for a thread that our PID namespace does not have.
    """

    tid: int
    fd: int


class Group:
    """A fanotify group that asks for permission. PermissionError without CAP_SYS_ADMIN."""

    def __init__(self) -> None:
        flags = _CLOEXEC | _NONBLOCK | _CLASS_CONTENT | _UNLIMITED_QUEUE | _UNLIMITED_MARKS
        file_flags = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_LARGEFILE", 0)
        self.fd = libc.call("fanotify_init", flags | _REPORT_TID, file_flags)
        self._spare: list[int] = []
        self.reserve()

    def mark(self, file: int) -> None:
        """Hold whoever executes an open file. The mark is on the inode. OSError."""
        mask = ctypes.c_uint64(_OPEN_EXEC_PERM)
        # an fd may be of O_PATH, which fanotify_mark(2) does not take
        path = b"/proc/self/fd/%d" % file
        libc.call("fanotify_mark", self.fd, _MARK_ADD, mask, _AT_FDCWD, path)

    def read(self) -> list[HeldThread]:
        """Whoever is held by now and was not reported yet; each must be answered.

        `reserve()` is due after the answers.
        """
        room = max(1, len(self._spare))
        while self._spare:
            os.close(self._spare.pop())
        try:
            data = os.read(self.fd, room * _METADATA.size)
        except BlockingIOError:
            return []
        held = []
        while data:
            length, version, _, _, mask, fd, tid = _METADATA.unpack_from(data)
            if version != _VERSION:
                raise OSError(f"fanotify speaks version {version}, not {_VERSION}")
            if not mask & _QUEUE_OVERFLOW:
                held.append(HeldThread(tid, fd))
            data = data[length:]
        return held

    def reserve(self) -> None:
        """Keep fds for the next `read()`, as many as can be had."""
        try:
            while len(self._spare) < _SPARE:
                self._spare.append(os.dup(self.fd))
        except OSError:
            pass

    def allow(self, fd: int) -> None:
        """Let a thread go on."""
        try:
            os.write(self.fd, _RESPONSE.pack(fd, _ALLOW))
        except FileNotFoundError:
            pass  # it was killed while it was held
        finally:
            os.close(fd)

    def close(self) -> None:
        """Remove all marks and let all threads go on."""
        for fd in [self.fd, *self._spare]:
            os.close(fd)
