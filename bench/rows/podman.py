"""Whole podman commands: what of all this a user of podman notices."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from real_podman.bed import IMAGE, Bed
from real_podman.client import Podman

from bench.bench import Bench, CannotMeasureError, Row
from bench.container import BenchError
from bench.results import Measure

RUN = Measure("podman run --rm", "ms")
EXEC = Measure("podman exec", "ms")
PROGRAMS = ("podman", "crun", "busybox", "nsenter", "unshare")


@contextmanager
def _podman(bench: Bench) -> Iterator[Podman]:
    if os.geteuid() != 0:
        raise CannotMeasureError("podman in namespaces of its own needs root")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise CannotMeasureError(f"not installed: {', '.join(missing)}")
    bench.progress.say("setting podman up")
    bed = Bed(bench.subjects[0].path)
    try:
        yield Podman(bed, "crun", None)
    finally:
        bed.close()


def measure(bench: Bench) -> None:
    """One podman for all: only `--conmon` is another. Each subject has its container for exec."""
    with _podman(bench) as podman:
        targets = {}
        for subject in bench.each():
            name = f"target-{subject.key}"
            podman("--conmon", str(subject.path), "run", "-d", "--name", name, IMAGE,
                   "sleep", "1000")  # fmt: skip
            targets[subject.key] = name
        for turn in bench.turns(bench.pick(60, 8), warm_ups=2, seconds=75):
            conmon = ("--conmon", str(bench.subject(turn.who).path))
            for kind, words in (
                (RUN, ("run", "--rm", IMAGE, "true")),
                (EXEC, ("exec", targets[turn.who], "true")),
            ):
                turn.add(kind.name, _milliseconds(podman.argv((*conmon, *words))))
        podman.remove_all()
        podman.wait_no_monitor()


def _milliseconds(argv: list[str]) -> float:
    begin = time.perf_counter()
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    took = time.perf_counter() - begin
    if done.returncode != 0:
        raise BenchError(f"podman ends with {done.returncode}: {done.stderr.decode()}")
    return took * 1000


ROWS = [
    Row(
        "podman",
        "`podman run --rm IMAGE true`, `podman exec C true`",
        "Root, crun, host network, in namespaces of their own. The whole command, with the 2 ms or"
        " so that entering the namespaces takes.",
        (RUN, EXEC),
        measure,
        __name__,
        main=True,
    )
]
