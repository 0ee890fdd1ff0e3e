"""The journald log driver, with a real journald."""

from __future__ import annotations

import time

from bench.bench import Bench, Row, Turn
from bench.container import BenchError, Container
from bench.feed import Feed
from bench.flow import CPU, SPEED, add
from bench.journal import count_entries, journald
from bench.results import Measure

# The kernel's default, and what systemd sets when it starts a machine.
QUEUES = {10: ("MB/s, queue of 10", "CPU, queue of 10"), 512: (SPEED.name, CPU.name)}


def measure(bench: Bench) -> None:
    """Each subject's first turn is the warm-up: then it is seen whether all entries are there."""
    feed = Feed(100, bench.pick(8, 3))
    for queue, names in QUEUES.items():
        with journald(queue):
            for turn in bench.turns(bench.pick(5, 3), seconds=40):
                _one(bench, turn, feed, names)


def _one(bench: Bench, turn: Turn, feed: Feed, names: tuple[str, str]) -> None:
    conmon, root = bench.subject(turn.who).path, bench.ram / f"c{bench.number()}"
    with Container(conmon, root, command=feed.command, log="journald") as one:
        one.launch()
        one.settle()
        before = one.cpu_s()
        begin = one.go()
        if not one.wait():
            raise BenchError(f"{turn.who} has not ended in time")
        add(turn, feed, time.perf_counter() - begin, one.cpu_s() - before, names)
        one.check_exit()
        if turn.warm_up:
            kept = count_entries(one.cid)
            if kept != feed.lines:
                label = bench.subject(turn.who).label
                bench.result.remarks.append(f"{label}: {kept} of {feed.lines} entries are there")


ROWS = [
    Row(
        "journald",
        "journald, 100-byte lines",
        "A systemd-journald of its own, without a limit of the rate, takes the entries;"
        " it is the slowest part. Its queue holds 512 datagrams, as where systemd has started the"
        " machine, or 10, the kernel's default. One of the runs is checked for lost entries.",
        (SPEED, CPU, Measure(QUEUES[10][0], "MB/s", "more"), Measure(QUEUES[10][1], "s/GB")),
        measure,
        __name__,
    )
]
