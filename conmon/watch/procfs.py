"""What /proc says of a process (proc(5)). Who is gone raises ProcessLookupError."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_STATUS = re.compile(rb"^(Tgid|PPid|Uid|Gid|NSpid):\s*(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Stat:
    """Some fields of /proc/PID/stat."""

    state: str
    ppid: int
    #: clock ticks since boot: a pid and this number are no other process for ever
    start_time: int
    #: wait(2) status of a zombie; 0 also if we may not know
    exit_code: int


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


def read(pid: int, name: str, limit: int = 1 << 14) -> bytes:
    """Read a file of /proc/PID. ProcessLookupError; PermissionError."""
    try:
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ProcessLookupError(error.errno, f"no process {pid}") from None
    try:
        # these files come in pages, and whole in one read if that is large enough
        return os.read(fd, limit)
    finally:
        os.close(fd)


def stat(pid: int) -> Stat:
    """Read /proc/PID/stat. ProcessLookupError."""
    # the name, in brackets, may have any bytes in it
    fields = read(pid, "stat").rpartition(b")")[2].split()
    if len(fields) < 50:
        raise ProcessLookupError(3, f"no process {pid}")
    return Stat(fields[0].decode(), int(fields[1]), int(fields[19]), int(fields[49]))


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


def command_line(pid: int) -> list[str]:
    """The arguments of a process; none of a kernel thread or zombie. ProcessLookupError."""
    data = read(pid, "cmdline", 1 << 20)
    return [os.fsdecode(word) for word in data.removesuffix(b"\0").split(b"\0")] if data else []
