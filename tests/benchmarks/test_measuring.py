"""The tools that the benchmarks measure with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from bench import kernel
from bench.bench import Bench, Row
from bench.client import PACKET_BYTES, Client
from bench.feed import Feed
from bench.progress import Progress
from bench.results import Measure
from bench.subjects import Subject

BURN = "import time; e = 0.2\nwhile time.process_time() < e: pass"
TIME = Measure("time", "ms")


def bench(path: Path) -> Bench:
    subjects = [Subject(key, Path("/conmon"), "1", 1, "0") for key in ("ours", "peer")]
    made = Bench(subjects, path, path, quick=False, progress=Progress(1))
    made.begin(Row("row", "A row", "How.", (TIME,), lambda _: None, "bench.rows.row"), {})
    return made


def test_cpu_time_of_a_process_that_has_ended() -> None:
    """Benchmarks: CPU is that of the process, exact, without its children, until it is reaped."""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])\n{BURN}"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = kernel.cpu_s(process.pid)
    assert process.returncode == 0
    assert 0.2 <= seconds < 0.39  # with the child it would be 0.4 and more


def test_new_files(tmp_path: Path) -> None:
    """Benchmarks: an exit file is noticed when it is complete, by rename as by writing."""
    with closing(kernel.NewFiles(tmp_path)) as files:
        (tmp_path / "other").write_text("x")
        (tmp_path / "temporary").write_text("x")
        (tmp_path / "temporary").rename(tmp_path / "wanted")
        files.wait("wanted", 10)
        with pytest.raises(TimeoutError):
            files.wait("wanted", 0.01)


def test_client_takes_everything(tmp_path: Path) -> None:
    """Benchmarks: the attach client counts each byte of output, whatever the packets' sizes."""
    sizes = [1, PACKET_BYTES, 2, 100, PACKET_BYTES] * 50
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(str(tmp_path / "attach"))
        server.listen()
        with closing(Client(tmp_path / "attach")) as client:
            connection, _ = server.accept()

            def send() -> None:
                with connection:
                    for size in sizes:
                        connection.send(b"x" * size)

            sender = threading.Thread(target=send)
            sender.start()
            received = client.drain()
            sender.join()
    assert received == sum(size - 1 for size in sizes)  # less the byte that names the stream


@pytest.mark.parametrize("length", [10, 100, 1000, 16384])
def test_feed(length: int, tmp_path: Path) -> None:
    """Benchmarks: the container writes as many bytes, and lines of that length, as are counted."""
    feed = Feed(length, 3)
    os.mkfifo(tmp_path / "go")
    with subprocess.Popen(feed.words(tmp_path / "go"), stdout=subprocess.PIPE) as process:
        (tmp_path / "go").write_text("\n")
        written, _ = process.communicate(timeout=60)
    lines = written.splitlines(keepends=True)
    assert (len(written), len(lines)) == (feed.bytes, feed.lines)
    assert {len(line) for line in lines} == {length}


def test_turns(tmp_path: Path) -> None:
    """Benchmarks: all take turns, every other round backwards; warm-ups leave no sample."""
    one = bench(tmp_path)
    order = []
    for turn in one.turns(3, limits=["cat"], warm_ups=1):
        order.append((turn.number, turn.who))
        turn.add("time", 1)
    assert [who for _, who in order] == [
        *("cat", "peer", "ours"),
        *("ours", "peer", "cat"),
        *("cat", "peer", "ours"),
        *("ours", "peer", "cat"),
    ]
    assert [number for number, _ in order[::3]] == [-1, 0, 1, 2]
    assert {who: len(found) for who, found in one.result.samples["time"].items()} == {
        "ours": 3,
        "peer": 3,
        "cat": 3,
    }


def test_turns_end_in_time(tmp_path: Path) -> None:
    """Benchmarks: a slow machine gets fewer rounds, but three, and the results say so."""
    one = bench(tmp_path)
    assert len(list(one.turns(100, seconds=0))) == 2 * (1 + 3)
    assert one.result.remarks == ["3 rounds: the time for this row was over"]
