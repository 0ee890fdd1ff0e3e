"""`python -m bench` from start to end, with few rows."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import Guard
from harness_os import Deadline

from bench import page
from bench.results import read

TOP = Path(__file__).resolve().parent.parent.parent
# Each is a second or two, and together they use all parts of a container.
ROWS = "version,one-by-one,attach"


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "--quick", *words],
        cwd=TOP,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_rows(conmon_path: Path, tmp_path: Path, guard: Guard) -> None:
    """make bench-quick: figures of both sides in the results; nothing is left over."""
    file = tmp_path / "results.json"
    places = [f"--{name}={tmp_path}" for name in ("ram", "disk")]
    done = run("--only", ROWS, "--json", file, *places, conmon_path, conmon_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", "a progress line, without a terminal"
    rows = read(file).rows
    assert {row.name for row in rows} == {"version", "one-by-one", "attach"}
    for row in rows:
        assert not row.missing
        for measure in row.measures:
            assert min(row.of(measure.name, "ours") + row.of(measure.name, "peer")) > 0
    assert list(tmp_path.iterdir()) == [file]
    assert not guard.left()


def test_beside_busy_processes(conmon_path: Path, tmp_path: Path, guard: Guard) -> None:
    """make bench BENCH_BUSY=2: the main rows once more, beside processes that are gone then."""
    file = tmp_path / "results.json"
    words = ("--busy", "2", "--only", "version,wake-ups", "--json", file)
    done = run(*words, conmon_path, conmon_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = read(file)
    assert [row.name for row in found.rows] == ["version", "wake-ups"]
    assert [row.name for row in found.busy_rows] == ["version"]
    assert found.busy_rows[0].of("time", "ours")
    assert not guard.left()


def broken_conmon(directory: Path) -> Path:
    broken = directory / "broken"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo conmon version 9.9.9 && exit\n'
        "echo no good >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    return broken


def test_conmon_that_fails(conmon_path: Path, tmp_path: Path, guard: Guard) -> None:
    """make bench: a conmon that does not work gives no figure, but its own words, and status 1."""
    done = run("--only", "one-by-one", broken_conmon(tmp_path), conmon_path)
    assert done.returncode == 1
    assert "no good" in done.stdout
    assert not guard.left()


def test_peer_that_fails(conmon_path: Path, tmp_path: Path, guard: Guard) -> None:
    """make bench PEERS=...: a peer that fails is reported in its place; the others are measured."""
    file = tmp_path / "results.json"
    peers = [conmon_path, broken_conmon(tmp_path)]
    done = run("--only", "one-by-one,wake-ups", "--json", file, conmon_path, *peers)
    assert done.returncode == 0, done.stdout + done.stderr
    for row in read(file).rows:
        assert "no good" in row.failed.pop("peer2")
        assert not row.failed
        assert not row.missing
        for measure in row.measures:
            assert row.of(measure.name, "ours")
            assert row.of(measure.name, "peer")
            assert not row.of(measure.name, "peer2")
    assert "no good" in page.text(read(file), [], "")
    assert not guard.left()


def test_interrupted(conmon_path: Path, tmp_path: Path, guard: Guard) -> None:
    """make bench: one that is interrupted leaves no process, no mount and no file."""
    words = [sys.executable, "-m", "bench", f"--ram={tmp_path}", f"--disk={tmp_path}"]
    with subprocess.Popen(
        [*words, "--only=one-by-one", conmon_path, conmon_path],
        cwd=TOP,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        deadline = Deadline()
        while not list(tmp_path.glob("*/c*/pidfile")):  # a container is there
            assert not deadline.passed() and process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, b"interrupted\n")
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert not guard.left()


def test_what_is_no_conmon(conmon_path: Path) -> None:
    """make bench PEERS=...: a program that is no conmon is refused before anything is run."""
    done = run(conmon_path, Path("/bin/true"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "/bin/true" in done.stderr


def test_row_that_there_is_not(conmon_path: Path) -> None:
    """make bench BENCH_ARGS='--only ...': a row that there is not is named."""
    done = run("--only", "version,lunch", conmon_path, conmon_path)
    assert done.returncode == 2
    assert "lunch" in done.stderr
