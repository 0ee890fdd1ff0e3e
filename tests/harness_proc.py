"""Reads what the stand-in runtime and exit command recorded of themselves, and /proc likewise."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from harness_os import Deadline


def words(path: Path) -> list[bytes]:
    """NUL-ended words: an argv or an environment, in its order."""
    data = path.read_bytes()
    return data.removesuffix(b"\0").split(b"\0") if data else []


def environment(given: dict[str, str]) -> list[bytes]:
    """What /proc/PID/environ shows of a process that was started with `given`."""
    return [os.fsencode(f"{name}={value}") for name, value in given.items()]


def status(path: Path) -> dict[str, str]:
    """The fields of a /proc/PID/status."""
    fields = (line.partition(":") for line in path.read_text().splitlines())
    return {name: value.strip() for name, _, value in fields}


def signals(mask: str) -> set[str]:
    """Names of the signals in a hexadecimal mask of /proc/PID/status."""
    bits = int(mask, 16)
    return {sig.name for sig in signal.Signals if bits >> (sig - 1) & 1}


def listed_fds(path: Path) -> dict[int, str]:
    """fd -> target, from a recorded `ls -l /proc/PID/fd`. The shell's own script is left out."""
    found: dict[int, str] = {}
    for line in path.read_text(errors="surrogateescape").splitlines():
        match = re.search(r" (\d+) -> (.*)$", line)
        if match and "/standin/" not in match[2]:
            found[int(match[1])] = match[2]
    return found


def open_fds(pid: int | str = "self") -> dict[int, str]:
    """fd -> target, of a living process."""
    found: dict[int, str] = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue  # the fd that listed the directory
    return found


def context_switches(pid: int) -> int:
    """How often a process has been given up or taken the CPU since its start."""
    fields = status(Path(f"/proc/{pid}/status"))
    return int(fields["voluntary_ctxt_switches"]) + int(fields["nonvoluntary_ctxt_switches"])


def settled(pid: int) -> int:
    """Wait until a process has done nothing for 50 ms: its context switches then.

    One that waits for a processor or a disk has something to do.
    """
    deadline = Deadline()
    before = context_switches(pid)
    while True:
        time.sleep(0.05)  # a window in which nothing may happen, not a wait for something
        now = context_switches(pid)
        if now == before and status(Path(f"/proc/{pid}/status"))["State"][0] not in "RD":
            return now
        assert not deadline.passed(), f"process {pid} never settles"
        before = now


def sleep_limit_ms(pid: int) -> int:
    """Wait until a monitor sleeps: the time-out of its epoll_wait(2); -1 is none.

    The fourth argument, in /proc/PID/syscall (proc(5)).
    """
    deadline = Deadline()
    while True:
        settled(pid)
        fields = Path(f"/proc/{pid}/syscall").read_text().split()
        if fields[0] != "running":
            limit = int(fields[4], 16) & 0xFFFFFFFF
            return limit - (1 << 32) if limit >> 31 else limit
        assert not deadline.passed(), f"process {pid} never sleeps"


@contextlib.contextmanager
def no_fd_left(pid: int) -> Iterator[None]:
    """A monitor, in its loop, can open no fd for as long as this lasts."""
    deadline = Deadline()
    while "anon_inode:[eventpoll]" not in open_fds(pid).values():
        assert not deadline.passed(), f"process {pid} has no loop"
        time.sleep(0.002)  # polled: a new fd has no event
    settled(pid)
    used = set(open_fds(pid))
    free = next(number for number in range(len(used) + 1) if number not in used)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


# What an idle monitor may have to itself, in kB (E2): a page of each part, where pages are large.
IDLE_MAX_KB = max(100, 12 * os.sysconf("SC_PAGESIZE") // 1024)


def private_dirty_kb(pid: int) -> int:
    """Memory that is this process's alone, in kB (proc_pid_smaps_rollup)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Private_Dirty: +(\d+) kB$", text, re.MULTILINE)
    assert match, text
    return int(match[1])
