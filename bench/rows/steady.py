"""Lines at a pace, as most containers write: what conmon costs, and what the whole host does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench import kernel
from bench.bench import Bench, Row, Turn
from bench.container import BenchError, Container
from bench.feed import program
from bench.results import Measure

LENGTH = 100
SECONDS = 2
PACES = (100, 1_000, 10_000)
CPU = Measure("CPU per line", "µs")
HOST = Measure("CPU of the host per line", "µs")


@contextmanager
def _follower(log: Path, wanted: bool) -> Iterator[None]:
    """Somebody who reads the log as it is written."""
    if not wanted:
        yield
        return
    with subprocess.Popen(program("follow.py", log), stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        one.stdout.readline()
        try:
            yield
        finally:
            one.kill()


def measure(bench: Bench, pace: int, followed: bool) -> None:
    log = bench.disk / "ctr.log"
    for turn in bench.turns(bench.pick(5, 3), warm_ups=0, seconds=30):
        try:
            _one(bench, turn, log, pace, followed)
        finally:
            log.unlink(missing_ok=True)


def _one(bench: Bench, turn: Turn, log: Path, pace: int, followed: bool) -> None:
    conmon, root = bench.subject(turn.who).path, bench.ram / f"c{bench.number()}"
    count = pace * SECONDS
    command = "exec " + " ".join(program("steady.py", "go", LENGTH, count, pace))
    options = ["--no-sync-log"]
    with Container(conmon, root, command=command, log=f"k8s-file:{log}", options=options) as one:
        one.launch()
        one.settle()
        with _follower(log, followed):
            before, idle, begin = one.cpu_s(), kernel.idle_s(), time.monotonic()
            one.go()
            if not one.wait():
                raise BenchError(f"{turn.who} has not ended in time")
            wall = time.monotonic() - begin
            turn.add(HOST.name, (wall * kernel.processors() - kernel.idle_s() + idle) / count * 1e6)
        turn.add(CPU.name, (one.cpu_s() - before) / count * 1e6)
        one.check_exit()


def _row(pace: int, followed: bool) -> Row:
    return Row(
        f"steady-{pace}" + "-followed" * followed,
        f"{pace:,} lines a second" + ", and a follower of the log" * followed,
        f"The container writes {pace:,} lines of 100 bytes a second for {SECONDS} s, at an even"
        " pace (`bench/programs/steady.py`)."
        + " A process reads the log as it is written (inotify, `bench/programs/follow.py`)."
        * followed
        + " CPU: of conmon's pid, its end included. The host's: the time in which no processor was"
        " idle, with the container and all else.",
        (CPU, HOST),
        partial(measure, pace=pace, followed=followed),
        __name__,
        quick=pace == 1_000 and not followed,
    )


ROWS = [_row(pace, followed) for followed in (False, True) for pace in PACES]
