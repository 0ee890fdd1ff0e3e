"""Memory of many monitors at once: what they share counts once, and what the kernel holds too."""

from __future__ import annotations

from contextlib import ExitStack

from bench import kernel
from bench.bench import Bench, Row
from bench.container import Container
from bench.crowd import alone, idle_ones, in_use_kb, kill_all, room_for
from bench.results import Measure

COUNTS = (1, 10, 100, 1000)
QUICK_COUNTS = (1, 10, 100)
HOST = Measure("memory of the host, each of 1000", "kB")


def pss(count: int) -> Measure:
    """The measure of that many monitors: mean PSS of each."""
    return Measure(f"PSS each of {count}", "kB")


def measure(bench: Bench) -> None:
    """One subject after another: the numbers grow, and are read at each of COUNTS."""
    counts = QUICK_COUNTS if bench.quick else COUNTS
    with room_for(counts[-1]):
        for turn in bench.turns(1, limits=["alone"], warm_ups=0):
            before = in_use_kb()
            if turn.who == "alone":
                if counts[-1] == COUNTS[-1]:
                    with alone(bench, COUNTS[-1]):
                        turn.add(HOST.name, (in_use_kb() - before) / COUNTS[-1])
                continue
            with ExitStack() as stack:
                running: list[Container] = []
                for count in counts:
                    running += idle_ones(bench, turn, stack, count - len(running))
                    running[-1].settle()
                    for one in running:
                        one.settle(0.001)
                    sizes = [kernel.memory_kb(one.monitor)["Pss"] for one in running]
                    turn.add(pss(count).name, sum(sizes) / count)
                if len(running) == COUNTS[-1]:
                    turn.add(HOST.name, (in_use_kb() - before) / len(running))
                kill_all(running)


ROWS = [
    Row(
        "many",
        "memory of many monitors",
        "Idle monitors of one conmon side by side, each with its container. PSS (a page that n"
        " processes share counts 1/n in each), mean over the monitors. Memory of the host: by how"
        " much anonymous and shared pages, slabs, kernel stacks and page tables have grown, for"
        " each container; its files in memory and the container's process are in it. How much of it"
        " is there without any conmon stands beside it.",
        (*(pss(count) for count in COUNTS), HOST),
        measure,
        __name__,
    )
]
