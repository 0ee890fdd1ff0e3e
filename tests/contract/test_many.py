"""2,000 containers: every exit file right, and no process, fd or file left behind."""

from __future__ import annotations

import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness import PATH, Guard
from harness_os import Process
from harness_proc import open_fds
from harness_rooms import STANDIN

COUNT = 2000
AT_A_TIME = 16


def run_one(conmon: Path, root: Path, number: int) -> int:
    """One container of the least runtime, from start to conmon's end: conmon's status."""
    cid = f"many-{number:04}-{number % 256}"
    bundle = root / "bundles" / cid
    bundle.mkdir()
    os.mkfifo(bundle / "gate")
    (root / "persist" / cid).mkdir()
    sync, sync_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    start, start_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with sync, sync_theirs, start, start_theirs:
        sync.settimeout(60)
        start.send(b"\0")
        options: dict[str, str | Path] = {
            "-c": cid,
            "-u": cid,
            "-r": STANDIN / "quick",
            "-b": bundle,
            "-p": bundle / "pidfile",
            "--exit-dir": root / "exits",
            "--persist-dir": root / "persist" / cid,
            "-l": f"k8s-file:{bundle}/log",
            "--conmon-pidfile": bundle / "conmon.pid",
        }
        if number % 2:  # so the interpreter is left early, in a short session, too
            options["--exit-command"] = "/bin/true"
        words = [os.fspath(word) for option in options.items() for word in option]
        subprocess.run(
            [conmon, "--api-version", "--full-attach", *words],
            env={
                "PATH": PATH,
                "TMPDIR": str(root / "tmp"),
                "_OCI_SYNCPIPE": str(sync_theirs.fileno()),
                "_OCI_STARTPIPE": str(start_theirs.fileno()),
            },
            pass_fds=[sync_theirs.fileno(), start_theirs.fileno()],
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
        monitor = Process(int((bundle / "conmon.pid").read_bytes()))
        try:
            assert sync.recv(4096) == b'{"data": %s}\n' % (bundle / "pidfile").read_bytes()
            return monitor.wait(60)
        finally:
            monitor.close()


def test_two_thousand_containers(conmon_path: Path, tmp_path: Path, guard: Guard) -> None:
    """C7, C16, C17: 2,000 ends of 256 kinds, 8 at a time; nothing is lost or left over."""
    for name in ("bundles", "exits", "persist", "tmp"):
        (tmp_path / name).mkdir()
    fds = open_fds()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = list(pool.map(lambda number: run_one(conmon_path, tmp_path, number), range(COUNT)))
    codes = {f"many-{number:04}-{number % 256}": number % 256 for number in range(COUNT)}
    assert found == list(codes.values())
    assert not guard.left(5), "processes left behind"
    assert open_fds() == fds
    exits = {path.name: path.read_text() for path in (tmp_path / "exits").iterdir()}
    assert exits == {cid: str(code) for cid, code in codes.items()}
    assert os.listdir(tmp_path / "tmp") == []
    for cid, code in codes.items():
        assert os.listdir(tmp_path / "persist" / cid) == ["exit"]
        assert (tmp_path / "persist" / cid / "exit").read_text() == str(code)
        left = set(os.listdir(tmp_path / "bundles" / cid))
        assert left == {"conmon.pid", "ctl", "gate", "log", "pidfile", "winsz"}
        assert (tmp_path / "bundles" / cid / "log").stat().st_size == 0
