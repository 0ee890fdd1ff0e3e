"""Calls of the C library and the kernel that Python has no name for."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: object) -> int:
    """Call a function that returns -1 and sets errno on failure. OSError; AttributeError."""
    result = int(getattr(_libc, function)(*arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")
    return result


def system_call(number: int, *arguments: object) -> int:
    """Make a system call by its number. OSError."""
    return call("syscall", ctypes.c_long(number), *arguments)
