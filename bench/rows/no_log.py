"""No log and no client: output that nobody wants."""

from __future__ import annotations

from pathlib import Path

from bench.bench import Bench, Row
from bench.feed import Feed
from bench.flow import CPU, SPEED, through_cat, through_conmon


def measure(bench: Bench) -> None:
    feed = Feed(100, bench.pick(2000, 1000))
    for turn in bench.turns(bench.pick(9, 3), limits=["cat"], seconds=40):
        if turn.who == "cat":
            through_cat(bench, turn, feed, Path("/dev/null"))
        else:
            through_conmon(bench, turn, feed, "none")


ROWS = [
    Row(
        "none",
        "log driver none, no client",
        "Beside it `cat > /dev/null`.",
        (SPEED, CPU),
        measure,
        __name__,
    )
]
