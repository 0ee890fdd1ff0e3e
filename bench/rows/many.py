"""Memory of many monitors at once: what they share counts once."""

from __future__ import annotations

import resource
from contextlib import ExitStack

from bench import kernel
from bench.bench import Bench, Row
from bench.container import Container
from bench.results import Measure

COUNTS = (1, 10, 100, 1000)
QUICK_COUNTS = (1, 10, 100)
FDS_PER_CONTAINER = 3


def pss(count: int) -> Measure:
    """The measure of that many monitors: mean PSS of each."""
    return Measure(f"PSS each of {count}", "kB")


def measure(bench: Bench) -> None:
    """One subject after another: the numbers grow, and are read at each of COUNTS."""
    counts = QUICK_COUNTS if bench.quick else COUNTS
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max(limits[0], counts[-1] * FDS_PER_CONTAINER + 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, limits[1]))
    try:
        for turn in bench.turns(1, warm_ups=0):
            conmon = bench.subject(turn.who).path
            with ExitStack() as stack:
                running: list[Container] = []
                for count in counts:
                    while len(running) < count:
                        root = bench.ram / f"c{bench.number()}"
                        one = Container(conmon, root, runtime="quick", log=f"k8s-file:{root}/log")
                        stack.enter_context(one)
                        one.launch()
                        running.append(one)
                    running[-1].settle()
                    for one in running:
                        one.settle(0.001)
                    sizes = [kernel.memory_kb(one.monitor)["Pss"] for one in running]
                    turn.add(pss(count).name, sum(sizes) / count)
                for one in running:
                    one.kill()  # all at once; they are waited for one by one
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


ROWS = [
    Row(
        "many",
        "memory of many monitors",
        "Idle monitors of one conmon side by side, each with its container. PSS (a page that n"
        " processes share counts 1/n in each), mean over the monitors.",
        tuple(pss(count) for count in COUNTS),
        measure,
        __name__,
    )
]
