"""An attach client that reads, and no log."""

from __future__ import annotations

import time
from contextlib import closing

from bench.bench import Bench, Row, Turn
from bench.client import attach
from bench.container import BenchError, Container
from bench.feed import Feed
from bench.flow import CPU, SPEED, add


def measure(bench: Bench) -> None:
    feed = Feed(100, bench.pick(400, 200))
    for turn in bench.turns(bench.pick(11, 3), seconds=30):
        _one(bench, turn, feed)


def _one(bench: Bench, turn: Turn, feed: Feed) -> None:
    conmon, root = bench.subject(turn.who).path, bench.ram / f"c{bench.number()}"
    with Container(conmon, root, command=feed.command) as one:
        one.launch()
        one.settle()
        with closing(attach(one)) as client:
            before = one.cpu_s()
            begin = one.go()
            received = client.drain()
            if not one.wait():
                raise BenchError(f"{turn.who} has not ended in time")
            seconds = time.perf_counter() - begin
            add(turn, feed, seconds, one.cpu_s() - before)
    if received != feed.bytes:
        raise BenchError(f"the client of {turn.who} got {received} of {feed.bytes} bytes")


ROWS = [
    Row(
        "attach",
        "attach client that reads, no log",
        "The client takes up to 64 packets at once (`bench/client.py`). Three processes"
        " are at work then.",
        (SPEED, CPU),
        measure,
        __name__,
        main=True,
    )
]
