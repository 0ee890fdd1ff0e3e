"""How often an idle monitor wakes up."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench import kernel
from bench.bench import Bench, Row
from bench.container import Container
from bench.results import Measure

PIPES = Measure("with pipes", "/s")
TERMINAL = Measure("with a terminal", "/s")


def measure(bench: Bench) -> None:
    """All monitors idle at the same time, in one window."""
    seconds = bench.pick(20, 5)
    with ExitStack() as stack:
        idle: list[tuple[str, Measure, Container, int]] = []
        for kind, runtime, options in ((PIPES, "runtime", []), (TERMINAL, "terminal", ["-t"])):
            for subject in bench.each():
                root = bench.ram / f"c{bench.number()}"
                log = f"k8s-file:{root}/log"
                one = Container(
                    subject.path,
                    root,
                    command="read -r _ <go",
                    runtime=runtime,
                    log=log,
                    options=options,
                )
                stack.enter_context(one).launch()
                one.settle(0.1)
                idle.append((subject.key, kind, one, kernel.context_switches(one.monitor)))
        bench.progress.say(f"nothing happens for {seconds} s")
        time.sleep(seconds)
        for who, kind, one, before in idle:
            count = kernel.context_switches(one.monitor) - before
            bench.result.add(kind.name, who, count / seconds)


ROWS = [
    Row(
        "wake-ups",
        "wake-ups of an idle monitor",
        "Context switches of the monitor's threads while nothing happens (20 s, 5 s in a quick"
        " run), per second.",
        (PIPES, TERMINAL),
        measure,
        __name__,
    )
]
