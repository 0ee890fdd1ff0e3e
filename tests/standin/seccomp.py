"""Filters of system calls (seccomp(2)) for what the scripts beside this file start."""

from __future__ import annotations

import ctypes
import platform
import struct

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_EQUAL, AND, RETURN = 0x20, 0x15, 0x54, 0x06  # classic BPF
ALLOW = 0x7FFF0000
NUMBER, ARGUMENT = 0, 16  # in struct seccomp_data
ARM64 = platform.machine() == "aarch64"

Step = tuple[int, int, int, int]


def refuse(errno: int) -> int:
    """The filter's answer that makes a call fail."""
    return 0x00050000 | errno


def install(program: list[Step]) -> None:
    """Have every system call of this process, and of its children, go through the program."""
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    held = ctypes.create_string_buffer(code)
    table = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, table),
    ):
        if libc.prctl(*arguments, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
