"""A mount namespace: a small disk of its own for a log, and a place for a journal's socket."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = """
set -e
mount -t tmpfs -o size="$2" tmpfs "$1"
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
mkdir -p /run/systemd/journal
echo ready
read -r _
"""


class Space:
    """`disk` is an empty file system of so many bytes there; what `wrapper` starts lives in it."""

    def __init__(self, disk: Path, size: int) -> None:
        if os.geteuid() != 0 or shutil.which("unshare") is None:
            why = "a disk of its own needs root, unshare and nsenter"
            assert "CI" not in os.environ, why
            pytest.skip(why)
        Path("/run/systemd").mkdir(exist_ok=True)
        self._shell = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private",
             "sh", "-c", SCRIPT, "sh", disk, str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._shell.stdout is not None
        assert self._shell.stdout.readline() == b"ready\n"
        self.wrapper = ("nsenter", f"--mount=/proc/{self._shell.pid}/ns/mnt", f"--wd={os.getcwd()}")
        self.disk = self.path(disk)
        self.journal = self.path(Path("/run/systemd/journal/socket"))

    def path(self, path: Path) -> Path:
        """A path in there, as it is reached from here."""
        return Path(f"/proc/{self._shell.pid}/root{path}")

    def close(self) -> None:
        self._shell.communicate()
