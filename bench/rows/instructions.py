"""Instructions in user space, by callgrind: figures that no noise moves."""

from __future__ import annotations

import shutil

from bench.bench import Bench, CannotMeasureError, Row
from bench.instructions import millions
from bench.results import Measure

MEASURES = tuple(
    Measure(name, "millions") for name in ("`--version`", "start", "end", "1 GB of log")
)


def measure(bench: Bench) -> None:
    if shutil.which("valgrind") is None:
        raise CannotMeasureError("valgrind is not installed")
    for turn in bench.turns(1, warm_ups=0):
        figures = millions(bench.subject(turn.who).path, bench.ram)
        for kind, figure in zip(MEASURES, figures, strict=True):
            turn.add(kind.name, figure)


ROWS = [
    Row(
        "instructions",
        "instructions executed",
        "Counted by callgrind ([`bench/instructions.py`](../bench/instructions.py)), in user space:"
        " what the kernel does for conmon is not in it, and is most of the work of a log. Start:"
        " until conmon, in the foreground, waits for its container. End: from there. The log is of"
        " lines of 100 bytes, on a null device. The same on every run to about a hundredth.",
        MEASURES,
        measure,
        __name__,
        quick=False,
    )
]
