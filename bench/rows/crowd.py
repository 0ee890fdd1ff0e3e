"""What a host with many containers pays: lines, probes, all started and all ended at once."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from bench import kernel
from bench.bench import Bench, Row, Turn
from bench.container import BenchError, Container
from bench.crowd import PeakMemory, idle_ones, kill_all, room_for
from bench.feed import program
from bench.results import Measure
from bench.rows.exec_cpu import session
from bench.stats import percentile

PACE = 50  # lines a second of each container
RECORD = 145  # bytes in the log for each line of 100
OWN = Measure("CPU per line", "µs")
HOST = Measure("CPU of the host per line", "µs")
SWITCHES = Measure("context switches per line", "")
P50 = Measure("write to log, p50", "ms")
P99 = Measure("write to log, p99", "ms")

START = Measure("start of all", "ms")
END = Measure("end of all", "ms")
PEAK = Measure("peak memory", "MB")

PROBE_HOST = Measure("CPU of the host per probe", "ms")
PROBE_P99 = Measure("probe, p99", "ms")


def lines(bench: Bench) -> None:
    containers, seconds = bench.pick(200, 50), bench.pick(20, 5)
    with room_for(containers):
        for turn in bench.turns(bench.pick(2, 1), warm_ups=0, seconds=180):
            _lines(bench, turn, containers, seconds)


def _lines(bench: Bench, turn: Turn, containers: int, seconds: int) -> None:
    conmon, count = bench.subject(turn.who).path, PACE * seconds
    with ExitStack() as stack:
        running = []
        for number in range(containers):
            root = bench.ram / f"c{bench.number()}"
            words = program("stamped.py", "go", count, PACE, number / containers / PACE)
            one = Container(
                conmon,
                root,
                command="exec " + " ".join(words),
                log=f"k8s-file:{root}/log",
                options=["--no-sync-log"],
            )
            stack.enter_context(one)
            one.launch()
            running.append(one)
        for one in running:
            one.settle(0.001)
        own = sum(one.cpu_s() for one in running)
        switches = sum(kernel.context_switches(one.monitor) for one in running)
        idle, begin = kernel.idle_s(), time.monotonic()
        for one in running:
            one.go()
        time.sleep(seconds - 1)  # all of them still write: no end is counted
        all_lines = sum((one.root / "log").stat().st_size for one in running) / RECORD
        busy = (time.monotonic() - begin) * kernel.processors() - kernel.idle_s() + idle
        turn.add(HOST.name, busy / all_lines * 1e6)
        turn.add(OWN.name, (sum(one.cpu_s() for one in running) - own) / all_lines * 1e6)
        now = sum(kernel.context_switches(one.monitor) for one in running)
        turn.add(SWITCHES.name, (now - switches) / all_lines)
        for one in running:
            if not one.wait():
                raise BenchError(f"{turn.who} has not ended in time")
        delays = [ms for one in running for ms in _delays(one.root / "log")]
    turn.add(P50.name, percentile(delays, 0.5))
    turn.add(P99.name, percentile(delays, 0.99))


_RECORD = re.compile(rb"^(\S{19})\.(\d{9})(\S{6}) stdout F (\d+) *$", re.MULTILINE)


@lru_cache(maxsize=1000)
def _second_ns(date: bytes, zone: bytes) -> int:
    return int(datetime.fromisoformat((date + zone).decode()).timestamp()) * 10**9


def _delays(log: Path) -> list[float]:
    """From the time that the container wrote into a line to that of its record, in ms."""
    return [
        (_second_ns(date, zone) + int(ns) - int(written)) / 1e6
        for date, ns, zone, written in _RECORD.findall(log.read_bytes())
    ]


def at_once(bench: Bench) -> None:
    count = bench.pick(200, 50)
    with room_for(count):
        for turn in bench.turns(bench.pick(5, 2), warm_ups=1, seconds=60):
            _at_once(bench, turn, count)


def _at_once(bench: Bench, turn: Turn, count: int) -> None:
    conmon = bench.subject(turn.who).path
    with ExitStack() as stack, PeakMemory() as peak:
        running = []
        for _ in range(count):
            root = bench.ram / f"c{bench.number()}"
            one = Container(conmon, root, runtime="quick", log=f"k8s-file:{root}/log")
            running.append(stack.enter_context(one))
        begin = time.perf_counter()
        for one in running:
            one.spawn()
        for one in running:
            one.report()
        turn.add(START.name, (time.perf_counter() - begin) * 1000)
        for one in running:
            one.settle(0.001)
        begin = time.perf_counter()
        kill_all(running)
        for one in running:
            if not one.wait():
                raise BenchError(f"{turn.who} has not ended in time")
        turn.add(END.name, (time.perf_counter() - begin) * 1000)
        turn.add(PEAK.name, peak.mb)


def probes(bench: Bench) -> None:
    count, seconds = bench.pick(100, 20), bench.pick(15, 5)
    with room_for(count):
        for turn in bench.turns(bench.pick(2, 1), warm_ups=0, seconds=150):
            _probes(bench, turn, count, seconds)


def _probes(bench: Bench, turn: Turn, count: int, seconds: int) -> None:
    """One probe after the other, each at its time: a second between two of a container."""
    with ExitStack() as stack, PeakMemory() as peak:
        running = idle_ones(bench, turn, stack, count)
        times = []
        idle, begin = kernel.idle_s(), time.monotonic()
        for number in range(count * seconds):
            time.sleep(max(begin + number / count - time.monotonic(), 0))
            times.append(session(bench, turn.who).wall_ms)
        wall = time.monotonic() - begin
        busy = wall * kernel.processors() - kernel.idle_s() + idle
        turn.add(PROBE_HOST.name, busy / len(times) * 1000)
        turn.add(PROBE_P99.name, percentile(times, 0.99))
        turn.add(PEAK.name, peak.mb)
        kill_all(running)


ROWS = [
    Row(
        "crowd-lines",
        "200 containers, 50 lines a second each",
        "Each container writes 50 lines of 100 bytes a second, at an even pace and not in step"
        " (`bench/programs/stamped.py`); logs in memory. CPU and context switches of all conmons"
        " and CPU of the host, with the containers, while all write. Write to log: from the time"
        " in a line, taken before it was written, to the time of its record.",
        (OWN, HOST, SWITCHES, P50, P99),
        lines,
        __name__,
        quick=False,
    ),
    Row(
        "crowd-at-once",
        "200 containers, started at once and ended at once",
        "All conmons are started before the first is waited for (`tests/standin/quick`), all"
        " containers killed before the end of the first monitor is waited for. Start: until the"
        " last pid was reported; end: until the last monitor has ended. Peak memory: the most by"
        " which the host's has grown, with the kernel's.",
        (START, END, PEAK),
        at_once,
        __name__,
        quick=False,
    ),
    Row(
        "crowd-probes",
        "100 containers, an exec probe in each every second",
        "As in the row of 1,000 exec sessions, beside 100 containers that wait. CPU of the host"
        " with runtime and benchmark; peak memory with the containers'.",
        (PROBE_HOST, PROBE_P99, PEAK),
        probes,
        __name__,
        quick=False,
    ),
]
