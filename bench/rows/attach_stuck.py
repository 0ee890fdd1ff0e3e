"""An attach client that never reads: does the log go on?"""

from __future__ import annotations

import time
from contextlib import closing, nullcontext
from pathlib import Path

from bench.bench import Bench, Row, Turn
from bench.client import attach
from bench.container import Container
from bench.feed import MB, Feed
from bench.results import Measure

STUCK = Measure("MB/s with it", "MB/s", "more")
ALONE = Measure("MB/s without", "MB/s", "more")
WAIT_S = 5.0
PATIENCE_S = 1  # that a conmon is told to have, and that is not counted
HEADER_BYTES = 45


def measure(bench: Bench) -> None:
    """CRI-O's call: our default there is to drop such a client. A stall is waited for WAIT_S."""
    feed = Feed(100, bench.pick(400, 200))
    log = bench.disk / "ctr.log"
    stalled: set[str] = set()
    for turn in bench.turns(bench.pick(5, 3), warm_ups=0, seconds=40):
        for kind in (ALONE, STUCK):
            if kind is STUCK and turn.who in stalled:
                continue
            try:
                if not _one(bench, turn, feed, log, kind):
                    stalled.add(turn.who)
            finally:
                log.unlink(missing_ok=True)


def _one(bench: Bench, turn: Turn, feed: Feed, log: Path, kind: Measure) -> bool:
    """One container. False if it was not through in time."""
    subject, root = bench.subject(turn.who), bench.ram / f"c{bench.number()}"
    options = ["--no-sync-log"]
    patience = PATIENCE_S if kind is STUCK and subject.has("drop:SECONDS") else 0
    if patience:
        options.append(f"--attach-slow-client=drop:{patience}")
    with Container(
        subject.path, root, command=feed.command, log=str(log), options=options, crio=True
    ) as one:
        one.launch()
        one.settle()
        with closing(attach(one)) if kind is STUCK else nullcontext():
            begin = one.go()
            ended = one.wait(WAIT_S + patience if kind is STUCK else 60)
            seconds = time.perf_counter() - begin - patience
            logged = feed.bytes
            if not ended:
                logged = log.stat().st_size * feed.length // (feed.length + HEADER_BYTES)
                bench.result.remarks.append(
                    f"{subject.label}: {logged / MB:.2f} of {feed.megabytes} MB"
                    f" were logged in {WAIT_S:.0f} s; it stands still. Tried once."
                )
            turn.add(kind.name, logged / MB / seconds)
    return ended


ROWS = [
    Row(
        "attach-stuck",
        "attach client that never reads, log to a file",
        "Called as CRI-O does. The container writes lines of 100 bytes as fast as they are taken;"
        " the log is a k8s-file on a disk. MB/s of container output until the end of conmon, with"
        " such a client and without any client. This conmon waits for the client first, here for"
        " one second (`--attach-slow-client=drop:1`); that second is not counted.",
        (STUCK, ALONE),
        measure,
        __name__,
    )
]
