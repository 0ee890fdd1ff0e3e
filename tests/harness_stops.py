"""Kill a child at its n-th system call: what a crash at that very point leaves behind.

The child is traced with ptrace(2), PTRACE_SYSCALL: it stops before and after each system call,
and both count. No register is looked at, so this works on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_TRACEME, _DETACH, _SYSCALL, _SETOPTIONS = 0, 17, 24, 0x4200
_EXITKILL = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


def _ptrace(request: int, pid: int = 0, data: int = 0) -> None:
    arguments = (ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_long(0), ctypes.c_long(data))
    _libc.ptrace.restype = ctypes.c_long
    if _libc.ptrace(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, "ptrace: " + os.strerror(number))


def _child(work: Callable[[], object]) -> None:
    status = 1
    try:
        _ptrace(_TRACEME)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()
        status = 0
    finally:
        os._exit(status)


def run_until_stop(
    work: Callable[[], object], stops: int, meanwhile: Callable[[], object] | None = None
) -> bool:
    """Do the work in a child and kill it at its stop number `stops`; True if it ended before.

    With `meanwhile` that is called at the stop, and then the child goes on to its end.
    """
    pid = os.fork()
    if pid == 0:
        _child(work)
    ended = False
    try:
        _, status = os.waitpid(pid, 0)
        ended = not os.WIFSTOPPED(status)
        assert not ended, f"the child did not begin: {status:#x}"
        _ptrace(_SETOPTIONS, pid, _EXITKILL)
        for _ in range(stops):
            _ptrace(_SYSCALL, pid)
            _, status = os.waitpid(pid, 0)
            ended = not os.WIFSTOPPED(status)
            if ended:
                assert status == 0, f"the work failed: {status:#x}"
                return True
        if meanwhile is not None:
            meanwhile()
            _ptrace(_DETACH, pid)
            _, status = os.waitpid(pid, 0)
            ended = True
            assert status == 0, f"the work failed: {status:#x}"
        return False
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
