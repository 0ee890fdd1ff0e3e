"""What the process tree asks of /proc, beside conmon.host.procfs.

Every function returns None (or nothing) for a process that is gone, or that may not be read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from conmon.host import procfs
from conmon.oci.monitors import monitor_of

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
#: Longest argv that is kept, in bytes: it is for people to read, and memory is bounded.
MAX_ARGV = 4096


class Seen(NamedTuple):
    """A live process as a scan found it, `read_ns` (CLOCK_MONOTONIC) just before it was read."""

    pid: int
    ppid: int
    start: int  # clock ticks since boot
    born: int  # the same as CLOCK_MONOTONIC ns, never too late
    read_ns: int
    threads: tuple[int, ...]  # beside the leader's
    leads: bool  # False when the leader has ended before its threads


def ticks_to_mono(ticks: int) -> int:
    """Start of a process (ticks since boot, suspension included) as CLOCK_MONOTONIC, ns.

    Never later than it was: the tick is rounded down, and a delay between the two clocks makes
    it earlier still.
    """
    now = time.monotonic_ns()
    suspended = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now
    return ticks * TICK_NS - suspended


class ProcFs:
    """A mounted procfs of the host's pid namespace."""

    def __init__(self, root: str = "/proc") -> None:
        self._root = root

    def _read(self, pid: int, name: str, size: int) -> bytes:
        try:
            return procfs.read(pid, name, size, self._root)
        except OSError:
            return b""

    def stat(self, pid: int) -> procfs.Stat | None:
        """Parent, state and start of a process."""
        try:
            return procfs.stat(pid, self._root)
        except OSError:
            return None

    def argv(self, pid: int) -> tuple[str, ...] | None:
        """The command line, its first MAX_ARGV bytes; empty for a kernel thread or a zombie."""
        data = self._read(pid, "cmdline", MAX_ARGV)
        if not data:
            return None
        words = data.removesuffix(b"\0").split(b"\0")
        return tuple(word.decode(errors="backslashreplace") for word in words)

    def nspid(self, pid: int) -> int | None:
        """The pid in the process's own pid namespace."""
        _, found, rest = self._read(pid, "status", 16384).partition(b"\nNSpid:")
        return int(rest.partition(b"\n")[0].split()[-1]) if found else None

    def monitor_name(self, pid: int, container_id: str) -> str | None:
        """The name that a container's monitor was told (conmon -n), by the container's init."""
        _, call = monitor_of(pid, container_id, self._root)
        return call.name or None if call is not None else None

    def is_process(self, pid: int) -> bool:
        """True for the pid of a live process, False for the tid of a thread."""
        return b"\nTgid:\t%d\n" % pid in self._read(pid, "status", 4096)

    def namespace(self, pid: int | str, kind: str) -> str | None:
        """Name of a namespace, such as `pid:[4026531836]`; equal for processes that share it."""
        try:
            return os.readlink(f"{self._root}/{pid}/ns/{kind}")
        except OSError:
            return None

    def cgroups(self, pid: int) -> tuple[str, ...]:
        """The paths of the process in all hierarchies (cgroups(7)), without duplicates."""
        lines = self._read(pid, "cgroup", 16384).decode(errors="backslashreplace").splitlines()
        return tuple(dict.fromkeys(line.split(":", 2)[2] for line in lines if line.count(":") > 1))

    def tids(self, pid: int) -> tuple[int, ...]:
        """The threads of a process beside its leader."""
        try:
            names = os.listdir(f"{self._root}/{pid}/task")
        except OSError:
            return ()
        return tuple(tid for tid in map(int, names) if tid != pid)

    def scan(self) -> Iterator[Seen]:
        """All live processes. One that lives through the whole scan is in it."""
        for pid in procfs.pids(self._root):
            now = time.monotonic_ns()
            stat = self.stat(pid)
            if stat is None or stat.dead:
                continue
            threads = self.tids(pid) if stat.threads > 1 else ()
            born = ticks_to_mono(stat.start)
            yield Seen(pid, stat.ppid, stat.start, born, now, threads, stat.leads)

    def alive(self, pid: int, mono_ns: int) -> bool:
        """True if the process that had this pid at `mono_ns` lives."""
        stat = self.stat(pid)
        return stat is not None and not stat.dead and ticks_to_mono(stat.start) <= mono_ns
