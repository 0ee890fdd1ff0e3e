"""The journald log driver, with a real journald."""

from __future__ import annotations

import time

from bench.bench import Bench, Row, Turn
from bench.container import BenchError, Container
from bench.feed import Feed
from bench.flow import CPU, SPEED, add
from bench.journal import count_entries, journald


def measure(bench: Bench) -> None:
    """Each subject's first turn is the warm-up: then it is seen whether all entries are there."""
    feed = Feed(100, bench.pick(8, 3))
    with journald():
        for turn in bench.turns(bench.pick(5, 3), seconds=60):
            _one(bench, turn, feed)


def _one(bench: Bench, turn: Turn, feed: Feed) -> None:
    conmon, root = bench.subject(turn.who).path, bench.ram / f"c{bench.number()}"
    with Container(conmon, root, command=feed.command, log="journald") as one:
        one.launch()
        one.settle()
        before = one.cpu_s()
        begin = one.go()
        if not one.wait():
            raise BenchError(f"{turn.who} has not ended in time")
        add(turn, feed, time.perf_counter() - begin, one.cpu_s() - before)
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
        " it is the slowest part. One of the runs is checked for lost entries.",
        (SPEED, CPU),
        measure,
        __name__,
    )
]
