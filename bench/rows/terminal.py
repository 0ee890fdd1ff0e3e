"""A container with a terminal."""

from __future__ import annotations

from bench.bench import Bench, Row
from bench.feed import Feed
from bench.flow import CPU, SPEED, through_conmon


def measure(bench: Bench) -> None:
    log = bench.disk / "ctr.log"
    feed = Feed(100, bench.pick(60, 20))
    for turn in bench.turns(bench.pick(11, 3), seconds=40):
        try:
            through_conmon(
                bench, turn, feed, f"k8s-file:{log}", "--no-sync-log", "-t", runtime="terminal"
            )
        finally:
            log.unlink(missing_ok=True)


ROWS = [
    Row(
        "terminal",
        "terminal, 100-byte lines",
        "Its stdout is a pseudo-terminal. The log is a k8s-file on a disk.",
        (SPEED, CPU),
        measure,
        __name__,
    )
]
