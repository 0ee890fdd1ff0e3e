"""Audit records as Linux 6.18 writes them, for tests of who reads them."""

from __future__ import annotations

from conmon.watch.sources.audit_control import Calls
from conmon.watch.sources.audit_records import EOE, EXECVE, SYSCALL

X86 = Calls(0xC000003E, frozenset({57, 58}), 56, 435, frozenset({59, 322}), 231)
_PROCTITLE = 1327
_WHO = (
    "auid=4294967295 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=(none) "
    'ses=4294967295 comm="sh" exe="/usr/bin/dash" key="k"'
)


def _call(number: int, result: str, a0: str, pid: int, ppid: int) -> bytes:
    text = (
        f"arch=c000003e syscall={number} {result}a0={a0} a1=0 a2=0 a3=8 items=0 "
        f"ppid={ppid} pid={pid} {_WHO}"
    )
    return text.encode()


def clone(pid: int, ppid: int, child: int, flags: int = 0x1200011) -> bytes:
    return _call(56, f"success=yes exit={child} ", f"{flags:x}", pid, ppid)


def vfork(pid: int, ppid: int, child: int) -> bytes:
    return _call(58, f"success=yes exit={child} ", "0", pid, ppid)


def clone3(pid: int, ppid: int, child: int) -> bytes:
    return _call(435, f"success=yes exit={child} ", "7fffeb70cd50", pid, ppid)


def execve(pid: int, ppid: int, success: bool = True) -> bytes:
    result = "success=yes exit=0 " if success else "success=no exit=-2 "
    return _call(59, result, "7f8e3bfa4770", pid, ppid)


def exit_group(pid: int, ppid: int, code: int) -> bytes:
    return _call(231, "", f"{code:x}", pid, ppid)


class Stream:
    """Numbers events, a millisecond apart."""

    def __init__(self) -> None:
        self.first = 1795331507000  # ms
        self.serial0 = 2299
        self._count = 0

    def event(self, call: bytes, argv: list[str] | None = None) -> list[tuple[int, bytes]]:
        """The records of an event, in the kernel's order."""
        ms, serial = self.first + self._count, self.serial0 + self._count
        self._count += 1
        head = f"audit({ms // 1000}.{ms % 1000:03}:{serial}): ".encode()
        records = [(SYSCALL, head + call)]
        if argv is not None:
            words = " ".join(f'a{n}="{word}"' for n, word in enumerate(argv))
            records.append((EXECVE, head + f"argc={len(argv)} {words}".encode()))
        return [*records, (_PROCTITLE, head + b'proctitle="sh"'), (EOE, head)]
