"""Lines that come one at a time: what each wake-up of the monitor costs."""

from __future__ import annotations

from pathlib import Path

from bench.bench import Bench, Row, Turn
from bench.container import BenchError, Container
from bench.feed import program
from bench.results import Measure

LENGTH = 100
CPU = Measure("CPU per line", "µs")


def measure(bench: Bench) -> None:
    log = bench.disk / "ctr.log"
    count = bench.pick(20_000, 5_000)
    command = "exec " + " ".join(program("lockstep.py", "go", LENGTH, count))
    for turn in bench.turns(bench.pick(11, 3), seconds=40):
        try:
            _one(bench, turn, log, command, count)
        finally:
            log.unlink(missing_ok=True)


def _one(bench: Bench, turn: Turn, log: Path, command: str, count: int) -> None:
    subject, root = bench.subject(turn.who), bench.ram / f"c{bench.number()}"
    conmon = subject.path
    options = ["--no-sync-log"]
    if subject.has("--log-latency"):
        options.append("--log-latency=0")  # or it would wait for more, and the container for it
    with Container(conmon, root, command=command, log=f"k8s-file:{log}", options=options) as one:
        one.launch()
        one.settle()
        before = one.cpu_s()
        one.go()
        if not one.wait():
            raise BenchError(f"{turn.who} has not ended in time")
        turn.add(CPU.name, (one.cpu_s() - before) / count * 1e6)
        one.check_exit()


ROWS = [
    Row(
        "one-by-one",
        "20,000 lines, one write at a time",
        "The container writes a line of 100 bytes when conmon has read the last one from the pipe"
        " (`bench/programs/lockstep.py`). CPU of conmon's pid from the first line to its end. This"
        " conmon with `--log-latency=0`: it is to be woken up for each line.",
        (CPU,),
        measure,
        __name__,
        main=True,
    )
]
