"""Thousands of conmons: what harness.py does for one container, without a watch on its files.

A `Many` is a place on disk for as many containers and exec sessions as are wanted.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import PATH
from harness_os import Process
from harness_rooms import STANDIN

#: The longest that one of so many may take, in seconds.
PATIENCE_S = 120


@dataclass
class Started:
    """A container or session that was reported as started."""

    pid: int
    monitor: Process


class Many:
    """The directories that all share; a bundle and a persist directory for each."""

    def __init__(self, conmon: Path, root: Path, runtime: str = "quick") -> None:
        self.conmon = conmon
        self.root = root
        self.runtime = STANDIN / runtime
        for name in ("bundles", "exits", "persist", "tmp"):
            (root / name).mkdir()

    def bundle(self, cid: str) -> Path:
        return self.root / "bundles" / cid

    def make(self, cid: str, files: Mapping[str, str] | None = None) -> None:
        """The bundle, with control files of the stand-in runtime."""
        bundle = self.bundle(cid)
        bundle.mkdir()
        (self.root / "persist" / cid).mkdir()
        os.mkfifo(bundle / "gate")
        for name, content in (files or {}).items():
            (bundle / name).write_text(content)

    def start(self, cid: str, *extra: str, log: str | None = None) -> Started:
        """Start conmon as podman does, and wait for its report."""
        bundle = self.bundle(cid)
        options: dict[str, str | Path] = {
            "-c": cid,
            "-u": cid,
            "-r": self.runtime,
            "-b": bundle,
            "-p": bundle / "pidfile",
            "--exit-dir": self.root / "exits",
            "--persist-dir": self.root / "persist" / cid,
            "-l": log or f"k8s-file:{bundle}/log",
            "--conmon-pidfile": bundle / "conmon.pid",
        }
        words = [os.fspath(word) for option in options.items() for word in option]
        report = self._run([self.conmon, "--api-version", "--full-attach", *words, *extra])
        pid = int((bundle / "pidfile").read_bytes())
        assert report == b'{"data": %d}\n' % pid, (cid, report)
        return Started(pid, Process(int((bundle / "conmon.pid").read_bytes())))

    def session(self, cid: str) -> Started:
        """Start an exec session, in a bundle of its own, without a log."""
        spec = self.bundle(cid) / "process.json"
        return self.start(cid, "-e", "--exec-process-spec", str(spec), log="none")

    def _run(self, argv: list[str | Path]) -> bytes:
        sync, sync_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        start, start_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with sync, sync_theirs, start, start_theirs:
            sync.settimeout(PATIENCE_S)
            start.send(b"\0")
            subprocess.run(
                argv,
                env={
                    "PATH": PATH,
                    "TMPDIR": str(self.root / "tmp"),
                    "_OCI_SYNCPIPE": str(sync_theirs.fileno()),
                    "_OCI_STARTPIPE": str(start_theirs.fileno()),
                },
                pass_fds=[sync_theirs.fileno(), start_theirs.fileno()],
                stdin=subprocess.DEVNULL,
                timeout=PATIENCE_S,
                check=True,
            )
            return sync.recv(4096)

    def run(self, cid: str, *extra: str, session: bool = False) -> int:
        """A container or session from start to conmon's end: conmon's status."""
        started = self.session(cid) if session else self.start(cid, *extra)
        try:
            return started.monitor.wait(PATIENCE_S)
        finally:
            started.monitor.close()

    def check(self, codes: Mapping[str, int], left: set[str]) -> None:
        """Every exit code in both files, and nothing else left than `left` in each bundle."""
        exits = {path.name: path.read_text() for path in (self.root / "exits").iterdir()}
        assert exits == {cid: str(code) for cid, code in codes.items()}
        assert os.listdir(self.root / "tmp") == []
        for cid, code in codes.items():
            assert os.listdir(self.root / "persist" / cid) == ["exit"]
            assert (self.root / "persist" / cid / "exit").read_text() == str(code)
            assert set(os.listdir(self.bundle(cid))) == left
