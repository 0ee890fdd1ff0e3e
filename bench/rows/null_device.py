"""A k8s-file log on a null device: formatting and system calls, without a file system."""

from __future__ import annotations

from bench.bench import Bench, Row
from bench.device import null_device
from bench.feed import Feed
from bench.flow import CPU, SPEED, through_conmon


def measure(bench: Bench) -> None:
    feed = Feed(100, bench.pick(400, 200))
    with null_device(bench.ram) as null:
        for turn in bench.turns(bench.pick(11, 3), seconds=30):
            through_conmon(bench, turn, feed, f"k8s-file:{null}")


ROWS = [
    Row(
        "null-device",
        "k8s-file on a null device, 100-byte lines",
        "The log is a device node like /dev/null.",
        (SPEED, CPU),
        measure,
        __name__,
    )
]
