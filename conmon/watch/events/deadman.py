"""A timer of the kernel that kills this process, unless the process puts it off again and again.

Who holds other processes must not stand still. SIGKILL reaches a process that is stopped, or stuck
in a file system that does not answer; and no second process is needed that could itself be stopped.
"""

from __future__ import annotations

import ctypes
import signal
import struct
import time

from conmon.host import libc

# struct sigevent of 64 bytes: a value, the signal, SIGEV_SIGNAL
_SIGEVENT = struct.Struct("@Pii").pack(0, signal.SIGKILL, 0).ljust(64, b"\0")
_NS = 10**9


class DeadMan:
    """Kills this process `timeout_ns` after the last `alive()` (timer_create(2)). OSError."""

    def __init__(self, timeout_ns: int) -> None:
        self._timer = ctypes.c_void_p()
        clock = ctypes.c_int(time.CLOCK_MONOTONIC)
        libc.call("timer_create", clock, _SIGEVENT, ctypes.byref(self._timer))
        self._setting = struct.pack("@llll", 0, 0, timeout_ns // _NS, timeout_ns % _NS)
        self.alive()

    def alive(self) -> None:
        """Put the end off."""
        libc.call("timer_settime", self._timer, 0, self._setting, None)

    def close(self) -> None:
        """Let this process live."""
        libc.call("timer_delete", self._timer)
