"""`conmon --version`: how long the program takes to start and end."""

from __future__ import annotations

import os
import time

from bench.bench import Bench, Row
from bench.container import BenchError
from bench.results import Measure

TIME = Measure("time", "ms")


def measure(bench: Bench) -> None:
    with open(os.devnull, "wb") as null:
        quiet = [(os.POSIX_SPAWN_DUP2, null.fileno(), 1)]
        for turn in bench.turns(bench.pick(500, 200), warm_ups=10, seconds=20):
            conmon = bench.subject(turn.who).path
            begin = time.perf_counter()
            pid = os.posix_spawn(conmon, [str(conmon), "--version"], {}, file_actions=quiet)
            _, status = os.waitpid(pid, 0)
            turn.add(TIME.name, (time.perf_counter() - begin) * 1000)
            if status != 0:
                raise BenchError(f"{turn.who} --version ends with {status:#x}")


ROWS = [
    Row(
        "version",
        "`conmon --version`",
        "The whole process, from before its start to its end as its parent sees them.",
        (TIME,),
        measure,
        __name__,
        main=True,
    )
]
