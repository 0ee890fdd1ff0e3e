"""What a caller waits for at both ends of a container: the pid, and the exit file."""

from __future__ import annotations

import time

from bench.bench import Bench, Row
from bench.container import TIMEOUT_S, Container
from bench.kernel import NewFiles
from bench.results import Measure

LAUNCH = Measure("exec to pid", "ms")
FINISH = Measure("death to exit file", "ms")
LAUNCH_CPU = Measure("CPU of the launch", "ms")
FINISH_CPU = Measure("CPU of the end", "ms")


def measure(bench: Bench) -> None:
    """A container that waits is started, left alone until its monitor is idle, and killed."""
    rounds = bench.pick(300, 60)
    for turn in bench.turns(rounds, warm_ups=5, seconds=60):
        conmon = bench.subject(turn.who).path
        log = bench.ram / "ctr.log"
        name = f"c{bench.number()}"
        with Container(conmon, bench.ram / name, runtime="quick", log=f"k8s-file:{log}") as one:
            one.launch()
            one.settle()
            launched = one.cpu_s()
            files = NewFiles(one.exits)
            try:
                time.sleep(0.002)  # both processors idle, as when a container dies by itself
                begin = one.kill()
                end = files.wait(one.cid, TIMEOUT_S)
            finally:
                files.close()
            one.wait()
            finished = one.cpu_s()
            turn.add(LAUNCH.name, (one.reported - one.started) * 1000)
            turn.add(FINISH.name, (end - begin) * 1000)
            turn.add(LAUNCH_CPU.name, (launched + one.parent_cpu_s) * 1000)
            turn.add(FINISH_CPU.name, (finished - launched) * 1000)
        log.unlink()


ROWS = [
    Row(
        "latency",
        "start and end of a container",
        "Do-nothing runtime (`tests/standin/quick`), all files in memory. Exec to pid: from before"
        " the exec of conmon to the pid on the sync pipe. Death to exit file: from before a SIGKILL"
        " to the container until inotify tells of the exit file. CPU: of conmon's pid, and of its"
        " parent for the launch; the runtime is in neither.",
        (LAUNCH, FINISH, LAUNCH_CPU, FINISH_CPU),
        measure,
        __name__,
        main=True,
    )
]
