"""Machine and versions that a run was made with, as texts for people."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from bench.results import Results
from bench.subjects import Subject


def sync_programs(subjects: list[Subject]) -> None:
    """Have the binaries on the disk: pages that are not yet would count as private dirty."""
    for subject in subjects:
        fd = os.open(subject.path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def describe(subjects: list[Subject], quick: bool) -> Results:
    """Results without rows."""
    return Results(
        taken=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        quick=quick,
        machine={
            "processor": f"{_processor()}, {os.cpu_count()} processors",
            "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 30} GiB",
            "kernel": platform.release(),
            "system": _system(),
            "Python of the benchmark": platform.python_version(),
            "busy before": f"load {os.getloadavg()[0]:.2f}",
            **{name: _version(*command) for name, command in _TOOLS.items()},
        },
        subjects=[
            {
                "key": subject.key,
                "label": subject.label,
                "program": subject.path.name if subject.key == "ours" else str(subject.path),
                "bytes": str(subject.bytes),
                "sha256": subject.sha256,
            }
            for subject in subjects
        ],
    )


_TOOLS = {
    "podman": ("podman", "--version"),
    "crun": ("crun", "--version"),
    "systemd": ("journalctl", "--version"),
    "coreutils": ("cat", "--version"),
}


def _processor() -> str:
    match = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


def _system() -> str:
    names = platform.freedesktop_os_release()
    return names.get("PRETTY_NAME", "Linux")


def _version(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return "not installed"
    match = re.search(r"\d+(\.\d+)*", done.stdout)
    return match[0] if match else "unknown"
