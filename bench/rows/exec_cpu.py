"""What an exec session costs conmon itself."""

from __future__ import annotations

import time
from contextlib import closing

from bench.bench import Bench, Row, Turn
from bench.client import Client
from bench.container import BenchError, Container
from bench.results import Measure

OWN = Measure("own CPU of 1,000", "s")
ALL = Measure("with the runtime", "s")
WALL = Measure("session", "ms")


def measure(bench: Bench) -> None:
    for turn in bench.turns(bench.pick(1000, 100), warm_ups=5, seconds=50):
        _session(bench, turn)


def _session(bench: Bench, turn: Turn) -> None:
    """As `podman exec` does: wait for the attach socket, connect, let it go on, read to the end."""
    conmon, root = bench.subject(turn.who).path, bench.ram / f"c{bench.number()}"
    options = ["-e", "--exec-process-spec", f"{root}/bundle/process.json", "--exec-attach"]
    with Container(conmon, root, runtime="quick", options=options) as one:
        one.open_gate()
        one.spawn()
        one.ready()
        with closing(Client(one.socket)) as client:
            one.start()
            one.report()
            client.drain()
            if not one.wait():
                raise BenchError(f"{turn.who} has not ended in time")
            ended = time.perf_counter()
        own = one.cpu_s() + one.parent_cpu_s
        usage = one.reap()
        children = usage.ru_utime + usage.ru_stime + one.parent_cpu_s
        turn.add(OWN.name, own * 1000)
        turn.add(ALL.name, children * 1000)
        turn.add(WALL.name, (ended - one.started) * 1000)


ROWS = [
    Row(
        "exec-cpu",
        "CPU of 1,000 exec sessions",
        "Sessions as podman asks for them, with a client attached, of a process that ends at once"
        " (`tests/standin/quick`). CPU of conmon's pid and of its parent, and the same with all"
        " that conmon waits for; each sample is one session, times 1,000. Session: from before the"
        " exec of conmon to its end.",
        (OWN, ALL, WALL),
        measure,
        __name__,
    )
]
