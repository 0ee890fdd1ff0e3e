"""Measuring a flow of output: how fast a conmon takes it, and with how much CPU time."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from bench import kernel
from bench.bench import Bench, Turn
from bench.container import TIMEOUT_S, BenchError, Container, open_for_writing
from bench.feed import MB, Feed
from bench.results import Measure

SPEED = Measure("MB/s", "MB/s", "more")
CPU = Measure("CPU", "s/GB", "less")
GB = 1_000_000_000


def through_conmon(
    bench: Bench,
    turn: Turn,
    feed: Feed,
    log: str,
    *options: str,
    runtime: str = "runtime",
    processors: tuple[int, int] | None = None,
    names: tuple[str, str] = (SPEED.name, CPU.name),
) -> None:
    """One container that writes the feed and ends: a sample of each of the two measures.

    `processors` are those that the container's process and the monitor are bound to.
    """
    container = Container(
        bench.subject(turn.who).path,
        bench.ram / f"c{bench.number()}",
        command=feed.command,
        runtime=runtime,
        log=log,
        options=options,
    )
    with container:
        container.launch()
        container.settle()
        if processors is not None:
            os.sched_setaffinity(container.pid, {processors[0]})
            os.sched_setaffinity(container.monitor, {processors[1]})
        before = container.cpu_s()
        begin = container.go()
        if not container.wait():
            raise BenchError(f"{turn.who} has not ended in time")
        seconds = time.perf_counter() - begin
        add(turn, feed, seconds, container.cpu_s() - before, names)
        container.check_exit()


def through_cat(bench: Bench, turn: Turn, feed: Feed, output: Path) -> None:
    """The same feed through a pipe into `cat > output`: what can be had at all."""
    go = bench.ram / "go"
    os.mkfifo(go)
    try:
        with subprocess.Popen(feed.words(go), stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            with open(output, "wb") as file:
                reader = subprocess.Popen(["cat"], stdin=writer.stdout, stdout=file)
            writer.stdout.close()
            fd = open_for_writing(go, TIMEOUT_S)
            begin = time.perf_counter()
            os.write(fd, b"\n")
            os.close(fd)
            os.waitid(os.P_PID, reader.pid, os.WEXITED | os.WNOWAIT)
            seconds = time.perf_counter() - begin
            cpu = kernel.cpu_s(reader.pid)
            if reader.wait() != 0:
                raise BenchError("cat failed")
    finally:
        go.unlink()
    add(turn, feed, seconds, cpu)


def add(
    turn: Turn,
    feed: Feed,
    seconds: float,
    cpu_s: float,
    names: tuple[str, str] = (SPEED.name, CPU.name),
) -> None:
    """One sample of the speed and one of the CPU time for each GB."""
    turn.add(names[0], feed.bytes / MB / seconds)
    turn.add(names[1], cpu_s / (feed.bytes / GB))
