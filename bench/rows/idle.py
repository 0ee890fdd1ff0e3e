"""Memory of one monitor: idle, and after 1 GB of logs."""

from __future__ import annotations

import time

from bench import kernel
from bench.bench import Bench, Row, Turn
from bench.container import TIMEOUT_S, BenchError, Container
from bench.feed import Feed
from bench.results import Measure

DIRTY = Measure("private dirty", "kB")
DIRTY_AFTER = Measure("private dirty after logs", "kB")
RSS = Measure("RSS", "kB")
RSS_AFTER = Measure("RSS after logs", "kB")


def measure(bench: Bench) -> None:
    """The container writes, makes the file `done`, and waits."""
    feed = Feed(100, bench.pick(1000, 200))
    command = f"{' '.join(feed.words('go'))}; : >done; read -r _ <go"
    for turn in bench.turns(bench.pick(5, 3), warm_ups=0):
        conmon, root = bench.subject(turn.who).path, bench.ram / f"c{bench.number()}"
        options = ["--log-size-max", "10000000"]
        log = f"k8s-file:{root}/log"
        with Container(conmon, root, command=command, log=log, options=options) as one:
            one.launch()
            one.settle(0.1)
            _sample(turn, one, DIRTY, RSS)
            one.go()
            _wait_done(one)
            one.settle(0.1)
            _sample(turn, one, DIRTY_AFTER, RSS_AFTER)


def _sample(turn: Turn, one: Container, dirty: Measure, rss: Measure) -> None:
    memory = kernel.memory_kb(one.monitor)
    turn.add(dirty.name, memory["Private_Dirty"])
    turn.add(rss.name, memory["Rss"])


def _wait_done(one: Container) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not (one.bundle / "done").exists():
        if time.monotonic() > end:
            raise BenchError("the container has not written all in time")
        time.sleep(0.02)


ROWS = [
    Row(
        "memory",
        "memory of an idle monitor",
        "/proc/PID/smaps_rollup of a monitor that has settled, before and after its container has"
        " written lines of 100 bytes (1 GB; 200 MB in a quick run) to a k8s-file log, which begins"
        " anew every 10 MB.",
        (DIRTY, DIRTY_AFTER, RSS, RSS_AFTER),
        measure,
        __name__,
    )
]
