"""The arguments of an execve(2) that a thread is held in.

While fanotify holds the thread, /proc/TID/syscall has the number and arguments of the system call,
and /proc/TID/mem its memory. Another thread of that process may still change what is read here:
it tells what a process says that it will do, and is nothing to base a permission on.
"""

from __future__ import annotations

import os
import struct
import time

from conmon.host import procfs

# Number of execve and execveat, in the tables of the kernel. These are 64-bit calls.
_NUMBERS = {
    "x86_64": (59, 322),
    "aarch64": (221, 281),
    "riscv64": (221, 281),
    "loongarch64": (221, 281),
    "ppc64le": (11, 362),
    "s390x": (11, 354),
}
_POINTER = struct.Struct("@P").size
_LIMIT = 4096  # arguments
_TEXT_LIMIT = 1 << 17  # bytes of one (MAX_ARG_STRLEN of the kernel)
_CHUNK = 256
# The event comes while the thread is still on its way to sleep; it has run for 20 us then.
_WAIT_NS = 200_000_000
_PAUSE_S = 0.000_02


class NotHeldError(Exception):
    """The thread is in no execve that we can read."""


class Execve:
    """The system call of a held thread. NotHeldError; ProcessLookupError; PermissionError."""

    def __init__(self, tid: int) -> None:
        self._tid = tid
        self._argv, self._envp = _vectors(tid)

    def argv(self) -> list[str]:
        """The arguments. NotHeldError; OSError."""
        return self._strings(self._argv)

    def environment(self) -> dict[str, str]:
        """The environment. NotHeldError; OSError."""
        words = (word.partition("=") for word in self._strings(self._envp))
        return {name: value for name, _, value in words}

    def _strings(self, vector: int) -> list[str]:
        memory = os.open(f"/proc/{self._tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return [_string(memory, address) for address in _addresses(memory, vector)]
        finally:
            os.close(memory)


def _vectors(tid: int) -> tuple[int, int]:
    """The addresses of argv and envp."""
    execve, execveat = _NUMBERS.get(os.uname().machine, (-1, -1))
    end = time.monotonic_ns() + _WAIT_NS
    while (line := procfs.read(tid, "syscall").split())[:1] == [b"running"]:
        if time.monotonic_ns() > end:
            raise NotHeldError(f"thread {tid} does not wait")
        time.sleep(_PAUSE_S)
    number, arguments = int(line[0]), [int(word, 16) for word in line[1:7]]
    if number == execve:
        return arguments[1], arguments[2]
    if number == execveat:
        return arguments[2], arguments[3]
    raise NotHeldError(f"thread {tid} is in system call {number}")


def _addresses(memory: int, vector: int) -> list[int]:
    found: list[int] = []
    while vector and len(found) < _LIMIT:
        data = os.pread(memory, 32 * _POINTER, vector)
        data = data[: len(data) - len(data) % _POINTER]
        if not data:
            break
        for (address,) in struct.iter_unpack("@P", data):
            if not address:
                return found
            found.append(address)
        vector += len(data)
    if vector:
        raise NotHeldError("a vector without an end")
    return found


def _string(memory: int, address: int) -> str:
    data = b""
    while len(data) < _TEXT_LIMIT:
        chunk = os.pread(memory, _CHUNK, address + len(data))
        text, end, _ = chunk.partition(b"\0")
        data += text
        if end:
            return os.fsdecode(data)
        if not chunk:
            break
    raise NotHeldError("a text without an end")
