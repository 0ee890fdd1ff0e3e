"""What an exec session costs conmon itself."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass

from bench.bench import Bench, Row
from bench.client import Client
from bench.container import BenchError, Container
from bench.results import Measure

OWN = Measure("own CPU of 1,000", "s")
ALL = Measure("with the runtime", "s")
WALL = Measure("session", "ms")


@dataclass(frozen=True)
class Session:
    """What one cost: CPU of conmon's pid and its parent, the same with what they wait for, time."""

    own_s: float
    all_s: float
    wall_ms: float


def measure(bench: Bench) -> None:
    for turn in bench.turns(bench.pick(1000, 100), warm_ups=5, seconds=50):
        one = session(bench, turn.who)
        turn.add(OWN.name, one.own_s * 1000)
        turn.add(ALL.name, one.all_s * 1000)
        turn.add(WALL.name, one.wall_ms)


def session(bench: Bench, who: str) -> Session:
    """As `podman exec` does: wait for the attach socket, connect, let it go on, read to the end."""
    conmon, root = bench.subject(who).path, bench.ram / f"c{bench.number()}"
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
                raise BenchError(f"{who} has not ended in time")
            ended = time.perf_counter()
        own = one.cpu_s() + one.parent_cpu_s
        usage = one.reap()
        children = usage.ru_utime + usage.ru_stime + one.parent_cpu_s
        return Session(own, children, (ended - one.started) * 1000)


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
        main=True,
    )
]
