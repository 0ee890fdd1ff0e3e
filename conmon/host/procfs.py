"""What /proc says of a process (proc(5), proc_pid_stat(5), namespaces(7)).

A process that has gone raises ProcessLookupError, one that we may not look at PermissionError.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_STATUS = re.compile(rb"^(Tgid|PPid|Uid|Gid|NSpid):\s*(.*)$", re.MULTILINE)
_TICKS = os.sysconf("SC_CLK_TCK")
_ENDED = "ZXx"


@dataclass(frozen=True, slots=True)
class Stat:
    """Some fields of /proc/PID/stat."""

    comm: str
    state: str
    ppid: int
    pgrp: int
    session: int
    threads: int
    #: clock ticks since boot: a pid and this number are no other process for ever
    start: int
    #: wait(2) status of a zombie; 0 also if we may not know
    exit_code: int = 0

    @property
    def dead(self) -> bool:
        """True for a process that has exited, reaped or not.

        A leader that ended before its threads is a zombie too, of a process that lives.
        """
        return self.state in _ENDED and self.threads <= 1

    @property
    def leads(self) -> bool:
        """False when the leader has ended, before its threads or with them."""
        return self.state not in _ENDED


@dataclass(frozen=True, slots=True)
class Status:
    """Some fields of /proc/PID/status; pids as our PID namespace counts."""

    pid: int
    ppid: int
    #: effective ids
    uid: int
    gid: int
    #: one pid for each PID namespace, from ours inwards
    ns_pids: tuple[int, ...]


def pids(root: str = "/proc") -> Iterator[int]:
    """All processes of this PID namespace, zombies included."""
    return (int(name) for name in os.listdir(root) if name.isdecimal())


def read(pid: int, name: str, limit: int = 1 << 14, root: str = "/proc") -> bytes:
    """Read a file of /proc/PID. ProcessLookupError; PermissionError."""
    try:
        fd = os.open(f"{root}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ProcessLookupError(error.errno, f"no process {pid}") from None
    try:
        # these files come in pages, and whole in one read if that is large enough
        return os.read(fd, limit)
    finally:
        os.close(fd)


def stat(pid: int, root: str = "/proc") -> Stat:
    """Read /proc/PID/stat. ProcessLookupError."""
    # the name, in brackets, may have any bytes in it; nothing after it does
    head, found, rest = read(pid, "stat", root=root).rpartition(b") ")
    fields = rest.split()
    if not found or len(fields) < 20:
        raise ProcessLookupError(3, f"no process {pid}")
    return Stat(
        comm=head.partition(b"(")[2].decode(errors="backslashreplace"),
        state=fields[0].decode(),
        ppid=int(fields[1]),
        pgrp=int(fields[2]),
        session=int(fields[3]),
        threads=int(fields[17]),
        start=int(fields[19]),
        exit_code=int(fields[49]) if len(fields) > 49 else 0,
    )


def status(pid: int) -> Status:
    """Read /proc/PID/status; `pid` may be a thread's. ProcessLookupError."""
    found = {key: value.split() for key, value in _STATUS.findall(read(pid, "status"))}
    try:
        return Status(
            pid=int(found[b"Tgid"][0]),
            ppid=int(found[b"PPid"][0]),
            uid=int(found[b"Uid"][1]),
            gid=int(found[b"Gid"][1]),
            ns_pids=tuple(map(int, found[b"NSpid"])),
        )
    except KeyError:
        raise ProcessLookupError(3, f"no process {pid}") from None


def comm(pid: int) -> bytes:
    """The name that the kernel keeps of the program. ProcessLookupError."""
    return read(pid, "comm").rstrip(b"\n")


def argv(pid: int, root: str = "/proc") -> list[bytes]:
    """The arguments of a process; none of a kernel thread or zombie. ProcessLookupError."""
    data = read(pid, "cmdline", 1 << 20, root)
    return data.removesuffix(b"\0").split(b"\0") if data else []


def command_line(pid: int, root: str = "/proc") -> list[str]:
    """The same as text, in which every byte is kept (os.fsdecode). ProcessLookupError."""
    return [os.fsdecode(word) for word in argv(pid, root)]


def children(pid: int) -> list[int]:
    """The children of all threads. OSError."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:
            continue  # the thread has ended
    return found


def private_dirty(pid: int) -> int:
    """Bytes of memory that the process alone holds, and that no file backs. OSError."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    return 0


@functools.cache
def _boot_time() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise OSError("/proc/stat does not say when the system was booted")


def start_time(start: int) -> float:
    """Seconds since the epoch, to the second or so, of a Stat's start."""
    return _boot_time() + start / _TICKS


def uptime(start: int) -> float:
    """How many seconds ago a Stat's start was."""
    now = float(Path("/proc/uptime").read_text().split()[0])
    return max(0.0, now - start / _TICKS)
