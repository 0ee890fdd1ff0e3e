"""ptrace(2) by ctypes: what the tracer needs, and the registers of the processors that it knows.

Reading a stop is the same everywhere (PTRACE_GET_SYSCALL_INFO, Linux 5.3); what writes a register
is in one class per processor.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_CONT, _DETACH, _SYSCALL, _PEEKUSER, _POKEUSER = 7, 17, 24, 3, 6
_GETEVENTMSG, _GETREGSET, _SETREGSET = 0x4201, 0x4204, 0x4205
_SEIZE, _INTERRUPT, _LISTEN, _GET_SYSCALL_INFO = 0x4206, 0x4207, 0x4208, 0x420E

EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_STOP = 1, 2, 3, 4, 128
_SYSGOOD, _TRACE_FORK, _TRACE_VFORK, _TRACE_CLONE, _TRACE_EXEC = 1, 2, 4, 8, 16
#: Follow all children, and let system calls' stops be told from signals.
FOLLOW = _SYSGOOD | _TRACE_FORK | _TRACE_VFORK | _TRACE_CLONE | _TRACE_EXEC
#: waitpid: children that are threads or have no SIGCHLD, too.
WALL = 0x40000000

ENTRY, EXIT = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long

# struct ptrace_syscall_info: op, arch, instruction pointer, stack pointer, then a union: number
# and six arguments at the entry; result and whether it is an error at the exit
_INFO = ctypes.create_string_buffer(88)
_ENTRY = struct.Struct("=B3xIQQQ6Q")
_EXIT = struct.Struct("=B3xIQQqB")
_MESSAGE = ctypes.c_ulong()


def call(request: int, pid: int, address: int = 0, data: object = None) -> int:
    """One ptrace call. OSError, ProcessLookupError where the process has gone."""
    result = int(_ptrace(request, pid, address, data))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace: {os.strerror(number)}")
    return result


def seize(pid: int) -> None:
    call(_SEIZE, pid, 0, FOLLOW)


def interrupt(pid: int) -> None:
    """Stop a process that was seized (PTRACE_EVENT_STOP)."""
    call(_INTERRUPT, pid)


def go_to_next_call(pid: int, signal: int = 0) -> None:
    """Go on until the next entry into, or exit from, a system call."""
    call(_SYSCALL, pid, 0, signal or None)


def stay_stopped(pid: int) -> None:
    """In a group-stop: stopped for the world, and followed on (PTRACE_LISTEN)."""
    call(_LISTEN, pid)


def detach(pid: int, signal: int = 0) -> None:
    call(_DETACH, pid, 0, signal or None)


def event_message(pid: int) -> int:
    """Of a fork, vfork or clone event: the child's pid."""
    call(_GETEVENTMSG, pid, 0, ctypes.addressof(_MESSAGE))
    return int(_MESSAGE.value)


@dataclass(frozen=True, slots=True)
class Entry:
    """A process about to enter the kernel."""

    number: int
    arguments: tuple[int, ...]
    stack: int
    instruction: int


@dataclass(frozen=True, slots=True)
class Exit:
    """A process about to leave the kernel, with the result or -errno."""

    result: int


def at_call(pid: int) -> Entry | Exit:
    """Where a process is that a system call has stopped."""
    call(_GET_SYSCALL_INFO, pid, len(_INFO), ctypes.addressof(_INFO))
    if _INFO.raw[0] == ENTRY:
        _, _, instruction, stack, number, *arguments = _ENTRY.unpack_from(_INFO)
        return Entry(number, tuple(arguments), stack, instruction)
    return Exit(_EXIT.unpack_from(_INFO)[4])


class Registers(Protocol):
    """What differs from one processor to the other."""

    def skip_call(self, pid: int) -> None:
        """At the entry: let the kernel do nothing."""

    def set_call(self, pid: int, number: int, arguments: Sequence[int]) -> None:
        """At the entry: have another system call made."""

    def set_result(self, pid: int, value: int) -> None:
        """At the exit: what the process gets; -errno for an error."""


class _X8664:
    """x86-64: offsets of orig_rax and rax in struct user_regs_struct."""

    _NUMBER, _RESULT = 15 * 8, 10 * 8
    _ARGUMENTS = (14 * 8, 13 * 8, 12 * 8, 7 * 8, 9 * 8, 8 * 8)  # rdi, rsi, rdx, r10, r8, r9

    def skip_call(self, pid: int) -> None:
        call(_POKEUSER, pid, self._NUMBER, ctypes.c_void_p(-1))

    def set_call(self, pid: int, number: int, arguments: Sequence[int]) -> None:
        call(_POKEUSER, pid, self._NUMBER, ctypes.c_void_p(number))
        for place, value in zip(self._ARGUMENTS, arguments, strict=False):
            call(_POKEUSER, pid, place, ctypes.c_void_p(value))

    def set_result(self, pid: int, value: int) -> None:
        call(_POKEUSER, pid, self._RESULT, ctypes.c_void_p(value))


class _Arm64:
    """arm64: the number is a register set of its own; the result is x0."""

    _GENERAL, _SYSTEM_CALL = 1, 0x404  # NT_PRSTATUS, NT_ARM_SYSTEM_CALL

    def _set(self, request: int, pid: int, what: int, held: ctypes.Array[ctypes.c_char]) -> None:
        vector = struct.pack("@PN", ctypes.addressof(held), len(held))
        call(request, pid, what, ctypes.create_string_buffer(vector, len(vector)))

    def skip_call(self, pid: int) -> None:
        self._set(_SETREGSET, pid, self._SYSTEM_CALL, ctypes.create_string_buffer(b"\xff" * 4, 4))

    def set_call(self, pid: int, number: int, arguments: Sequence[int]) -> None:
        held = ctypes.create_string_buffer(34 * 8)
        self._set(_GETREGSET, pid, self._GENERAL, held)
        for i, value in enumerate(arguments):
            struct.pack_into("=Q", held, 8 * i, value & (1 << 64) - 1)
        self._set(_SETREGSET, pid, self._GENERAL, held)
        word = ctypes.create_string_buffer(struct.pack("=i", number), 4)
        self._set(_SETREGSET, pid, self._SYSTEM_CALL, word)

    def set_result(self, pid: int, value: int) -> None:
        held = ctypes.create_string_buffer(34 * 8)
        self._set(_GETREGSET, pid, self._GENERAL, held)
        struct.pack_into("=q", held, 0, value)
        self._set(_SETREGSET, pid, self._GENERAL, held)


_KNOWN: dict[str, type[Registers]] = {"x86_64": _X8664, "aarch64": _Arm64}


def known_processor() -> bool:
    return platform.machine() in _KNOWN


def registers() -> Registers:
    return _KNOWN[platform.machine()]()
