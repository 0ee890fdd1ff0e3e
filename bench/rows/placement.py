"""Where the scheduler puts container and monitor: one processor for both, or one each."""

from __future__ import annotations

import os

from bench.bench import Bench, CannotMeasureError, Row
from bench.device import null_device
from bench.feed import Feed
from bench.flow import through_conmon
from bench.results import Measure

PLACES = ("on one", "on two")
LOGS = ("k8s-file", "none")


def _names(log: str, place: str) -> tuple[str, str]:
    return f"{log}, speed {place}", f"{log}, CPU {place}"


def measure(bench: Bench) -> None:
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise CannotMeasureError("there is only one processor")
    where = {"on one": (usable[0], usable[0]), "on two": (usable[0], usable[1])}
    feed = Feed(100, 400)
    with null_device(bench.ram) as null:
        for turn in bench.turns(5, seconds=45):
            for log, path in zip(LOGS, (f"k8s-file:{null}", "none"), strict=True):
                for place, processors in where.items():
                    names = _names(log, place)
                    through_conmon(bench, turn, feed, path, processors=processors, names=names)


def _measures() -> list[Measure]:
    found = []
    for log in LOGS:
        for place in PLACES:
            speed, cpu = _names(log, place)
            found += [Measure(speed, "MB/s", "more"), Measure(cpu, "s/GB")]
    return found


ROWS = [
    Row(
        "placement",
        "container and monitor bound to processors",
        "Lines of 100 bytes to a k8s-file on a null device, and with the log driver none; container"
        " and monitor are bound to one processor, or to one each. Two may cost more CPU time: what"
        " is in the pipe must go from one cache to the other. In all other rows the scheduler"
        " chooses, not always alike: a part of their spread comes from it.",
        tuple(_measures()),
        measure,
        __name__,
        quick=False,
    )
]
