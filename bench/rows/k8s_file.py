"""Logs in the k8s-file format on a disk, by line length."""

from __future__ import annotations

from functools import partial

from bench.bench import Bench, Row
from bench.container import BenchError
from bench.feed import Feed
from bench.flow import CPU, SPEED, through_cat, through_conmon

HEADER_BYTES = 45  # 2026-01-02T03:04:05.123456789+00:00 stdout F, and a space
#: line length in bytes, newline included -> MB of a full run, MB of a quick one
LENGTHS = {10: (60, 40), 30: (120, 0), 100: (400, 200), 300: (400, 0), 1000: (400, 0),
           4096: (400, 0), 16384: (400, 200)}  # fmt: skip
GOALS = (10, 100, 16384)  # more rounds, and in the quick run; the others are for the plot
MAIN = 100


def measure(bench: Bench, length: int) -> None:
    """Everything that is written goes to the page cache; the file is removed before it is old."""
    megabytes = bench.pick(*LENGTHS[length])
    log = bench.disk / "ctr.log"
    rounds = bench.pick(11 if length in GOALS else 5, 3)
    feed = Feed(length, megabytes)
    for turn in bench.turns(rounds, limits=["cat"], seconds=45 if length in GOALS else 25):
        try:
            if turn.who == "cat":
                through_cat(bench, turn, feed, log)
            else:
                through_conmon(bench, turn, feed, f"k8s-file:{log}", "--no-sync-log")
                size = log.stat().st_size
                if size < feed.bytes + feed.lines * HEADER_BYTES:
                    raise BenchError(f"the log of {turn.who} has {size} bytes only")
        finally:
            log.unlink(missing_ok=True)


def _row(length: int) -> Row:
    run = partial(measure, length=length)
    return Row(
        f"k8s-file-{length}",
        f"k8s-file, {length:,}-byte lines",
        "The log is on a disk, and not synced (`--no-sync-log`). Beside it `cat > file`.",
        (SPEED, CPU),
        run,
        __name__,
        quick=length in GOALS,
        main=length == MAIN,
    )


ROWS = [_row(length) for length in LENGTHS]
