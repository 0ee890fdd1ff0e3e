"""How long a container is held up while its log is begun anew every 10 MB."""

from __future__ import annotations

from pathlib import Path

from bench.bench import Bench, Row, Turn
from bench.container import BenchError, Container
from bench.feed import program
from bench.results import Measure

SIZE = 10_000_000
PAUSE_S = 0.0001
PLACES = ("p50", "p99", "p99.9", "longest")
NEW_FILE = tuple(Measure(f"new file, {place}", "ms") for place in PLACES)
KEPT = tuple(Measure(f"rotated, {place}", "ms") for place in PLACES)


def measure(bench: Bench) -> None:
    """C conmon 2.1 knows no --log-rotate: it only starts the file anew. So both are measured."""
    log = bench.disk / "logs" / "ctr.log"
    command = "exec " + " ".join(program("paced.py", "go", bench.pick(200, 50), PAUSE_S, "stalls"))
    for turn in bench.turns(bench.pick(5, 3), seconds=60):
        for kind in (NEW_FILE, KEPT):
            if kind is KEPT and not bench.subject(turn.who).has("--log-rotate"):
                continue
            log.parent.mkdir()
            try:
                _one(bench, turn, log, command, kind)
            finally:
                for file in log.parent.iterdir():
                    file.unlink()
                log.parent.rmdir()


def _one(bench: Bench, turn: Turn, log: Path, command: str, kind: tuple[Measure, ...]) -> None:
    conmon, root = bench.subject(turn.who).path, bench.ram / f"c{bench.number()}"
    options = ["--no-sync-log", "--log-size-max", str(SIZE)]
    if kind is KEPT:
        options += ["--log-rotate", "--log-max-files", "2"]
    with Container(conmon, root, command=command, log=f"k8s-file:{log}", options=options) as one:
        one.launch()
        one.settle()
        one.go()
        if not one.wait():
            raise BenchError(f"{turn.who} has not ended in time")
        one.check_exit()
        times = (one.bundle / "stalls").read_text().split()[1:]
    for place, value in zip(kind, times, strict=True):
        turn.add(place.name, float(value))


ROWS = [
    Row(
        "rotation",
        "stalls of the writer, a new log every 10 MB",
        "The container writes 16 kB in lines of 100 bytes and pauses for 0.1 ms, again and again,"
        " and times its writes (`bench/programs/paced.py`); `--log-size-max 10000000`, the log on"
        " a disk. New file: the log begins anew. Rotated: with `--log-rotate`, where it is known."
        " Percentiles of the writes of each run, medians over the runs.",
        (*NEW_FILE, *KEPT),
        measure,
        __name__,
    )
]
