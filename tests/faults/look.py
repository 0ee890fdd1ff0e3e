"""Looking at processes and files that may go away meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

from faults import calls

_CLOCK = os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _stat(pid: int) -> tuple[str, list[str]]:
    """Name and fields from the state on; nothing of a process that has gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", ["X"] * 20
    return stat.partition("(")[2].rpartition(")")[0], stat.rpartition(")")[2].split()


def lives(pid: int) -> bool:
    return _stat(pid)[1][0] not in "ZX"


def content(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("latin-1")
    except OSError:
        return None


def log_files(directory: Path) -> list[str]:
    """Names of the log files, oldest first."""

    def age(name: str) -> tuple[int, int]:
        suffix = name.rpartition(".")[2]
        return (0, -int(suffix)) if suffix.isdigit() else (1, int(name != "moved"))

    return sorted(os.listdir(directory), key=age)


def state(pid: int) -> str:
    """One living process, in words: what it is, and what it waits for."""
    name, fields = _stat(pid)
    try:
        at = Path(f"/proc/{pid}/syscall").read_text().split()
    except OSError:
        return f"{name or pid} gone"
    inside = calls.names().get(int(at[0]), at[0]) if at[0].lstrip("-").isdigit() else at[0]
    cpu = (int(fields[11]) + int(fields[12])) / _CLOCK
    return f"{name} {fields[0]} in {inside}, {cpu:.1f} s of CPU"
