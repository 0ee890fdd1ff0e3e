"""What /proc says of a process (proc(5)). OSError where it has gone or may not be looked at."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Stat:
    """Of /proc/PID/stat. `start`: clock ticks after boot, which with the pid names a process."""

    comm: str
    state: str
    ppid: int
    pgrp: int
    session: int
    start: int


def pids() -> Iterator[int]:
    """All processes of this PID namespace."""
    for name in os.listdir(PROC):
        if name.isdigit():
            yield int(name)


def comm(pid: int) -> bytes:
    """The name that the kernel keeps of the program."""
    return (PROC / str(pid) / "comm").read_bytes().rstrip(b"\n")


def argv(pid: int) -> list[bytes]:
    """The command line; empty for a zombie."""
    data = (PROC / str(pid) / "cmdline").read_bytes()
    return data.removesuffix(b"\0").split(b"\0") if data else []


def stat(pid: int) -> Stat:
    """The fields of /proc/PID/stat that are used here."""
    data = (PROC / str(pid) / "stat").read_text(errors="replace")
    # The name in brackets may hold anything: the fields begin behind the last bracket.
    head, _, rest = data.rpartition(")")
    fields = rest.split()
    return Stat(
        comm=head.partition("(")[2],
        state=fields[0],
        ppid=int(fields[1]),
        pgrp=int(fields[2]),
        session=int(fields[3]),
        start=int(fields[19]),
    )


def children(pid: int) -> list[int]:
    """The children of all threads; as this /proc numbers them."""
    found: list[int] = []
    for task in (PROC / str(pid) / "task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:
            continue  # the thread has ended
    return found


def namespace_pids(pid: int) -> list[int]:
    """The pid in each PID namespace that sees the process, from this /proc's inwards."""
    for line in (PROC / str(pid) / "status").read_text(errors="replace").splitlines():
        if line.startswith("NSpid:"):
            return [int(number) for number in line.split()[1:]]
    return [pid]


def private_dirty(pid: int) -> int:
    """Bytes of memory that the process alone holds, and that no file backs."""
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    return 0


def uid(pid: int) -> int:
    """The effective user."""
    return (PROC / str(pid)).stat().st_uid


@functools.cache
def _boot_time() -> float:
    for line in (PROC / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise OSError("/proc/stat does not say when the system was booted")


def start_time(start: int) -> float:
    """Seconds since the epoch, to the second or so, of a Stat's start."""
    return _boot_time() + start / os.sysconf("SC_CLK_TCK")


def uptime(start: int) -> float:
    """How many seconds ago a Stat's start was."""
    now = float((PROC / "uptime").read_text().split()[0])
    return max(0.0, now - start / os.sysconf("SC_CLK_TCK"))
