"""Many containers: every exit code right, and no process, fd or file left behind.

`make many` runs more of each: 10,000 containers, 10,000 sessions, 1,000 monitors at one time.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import Guard
from harness_attach import PACKET_MAX, connect
from harness_log import written
from harness_many import PATIENCE_S, Many, Started
from harness_os import Deadline
from harness_proc import open_fds

AT_A_TIME = 16
FILES = {"conmon.pid", "ctl", "gate", "log", "pidfile", "winsz"}


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    """How many: 2,000, or what --many says."""
    wanted: int = request.config.getoption("--many")
    return wanted


def test_containers(conmon_path: Path, tmp_path: Path, guard: Guard, count: int) -> None:
    """C7, C16, C17: thousands of ends of 256 kinds, 16 at a time; nothing is lost or left over."""
    many = Many(conmon_path, tmp_path)
    fds = open_fds()
    codes = {f"many-{number:05}-{number % 256}": number % 256 for number in range(count)}

    def run(number: int, cid: str) -> int:
        many.make(cid)
        # so the interpreter is left early, in a short session, too
        return many.run(cid, *(["--exit-command", "/bin/true"] if number % 2 else []))

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = list(pool.map(run, range(count), codes))
    assert found == list(codes.values())
    assert not guard.left(), "processes left behind"
    assert open_fds() == fds
    many.check(codes, FILES)
    assert {(many.bundle(cid) / "log").stat().st_size for cid in codes} == {0}


def test_sessions(conmon_path: Path, tmp_path: Path, guard: Guard, count: int) -> None:
    """C6, C17: as many exec sessions: every exit code in its file; nothing is left over."""
    many = Many(conmon_path, tmp_path)
    fds = open_fds()
    codes = {f"exec-{number:05}-{number % 256}": number % 256 for number in range(count)}

    def run(cid: str) -> int:
        many.make(cid)
        return many.run(cid, session=True)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        assert list(pool.map(run, codes)) == list(codes.values())
    assert not guard.left(), "processes left behind"
    assert open_fds() == fds
    many.check(codes, FILES - {"log"})


#: Numbered lines, for ever: a container's output.
LINES = "n=0; while :; do echo line $n; n=$((n + 1)); [ $((n % 50)) != 0 ] || sleep 0.3; done\n"


class Reader(threading.Thread):
    """One thread for all attach clients: reads each to its end."""

    def __init__(self, clients: dict[str, socket.socket]) -> None:
        super().__init__()
        self.clients = clients
        self.got = {cid: bytearray() for cid in clients}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with ThreadPoolExecutor(AT_A_TIME) as pool:
                list(pool.map(self._read, self.clients))
        except BaseException as failure:
            self.failure = failure

    def _read(self, cid: str) -> None:
        client = self.clients[cid]
        client.settimeout(PATIENCE_S)
        while packet := client.recv(PACKET_MAX):
            self.got[cid] += packet[1:]


def attach(many: Many, cid: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connect(client, many.bundle(cid) / "attach")
    return client


def in_order(data: bytes) -> bool:
    """Whether these are numbered lines without a gap; the last may be cut."""
    numbers = [int(number) for number in re.findall(rb"^line (\d+)\n", data, re.MULTILINE)]
    whole = b"".join(b"line %d\n" % number for number in numbers)
    return (
        numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    ) and data[: len(whole)] == whole


def wait_logged(log: Path) -> None:
    """Wait until a log has something. Polled: it is one of very many."""
    deadline = Deadline(PATIENCE_S)
    while not log.stat().st_size:
        assert not deadline.passed(), log
        time.sleep(0.01)


def test_all_killed_at_once(conmon_path: Path, tmp_path: Path, guard: Guard, count: int) -> None:
    """C16, C17, C21.1: a tenth as many monitors, all logging, half with a client, lose nothing.

    All containers are killed within a moment: every exit code is in both files, the log has every
    line in its order, and a client that came before the end gets what the log has from there on.
    """
    many = Many(conmon_path, tmp_path, runtime="runtime")
    fds = open_fds()
    names = [f"live-{number:05}" for number in range(count // 10)]

    def start(cid: str) -> Started:
        many.make(cid, {"command": LINES})
        return many.start(cid)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        running = dict(zip(names, pool.map(start, names), strict=True))
    reader = Reader({cid: attach(many, cid) for cid in names[::2]})
    reader.start()
    for cid in names:
        wait_logged(many.bundle(cid) / "log")
    for started in running.values():
        os.kill(started.pid, signal.SIGKILL)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        waited = pool.map(lambda started: started.monitor.wait(PATIENCE_S), running.values())
        assert set(waited) == {128 + signal.SIGKILL}
    reader.join(PATIENCE_S)
    assert reader.failure is None
    for started in running.values():
        started.monitor.close()
    for client in reader.clients.values():
        client.close()
    assert not guard.left(), "processes left behind"
    assert open_fds() == fds
    many.check(dict.fromkeys(names, 137), FILES | {"command"})
    for cid in names:
        log = written((many.bundle(cid) / "log").read_bytes())
        assert log.startswith(b"line 0\n") and in_order(log), cid
        assert log.endswith(bytes(reader.got.get(cid, b""))), cid
