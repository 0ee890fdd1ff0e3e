"""Many containers side by side, and what they take of the host."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from bench import STANDIN
from bench.bench import Bench, Turn
from bench.container import Container

FDS_PER_CONTAINER = 5


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """Let this process have the fds of so many containers. OSError if it may not."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max(limits[0], count * FDS_PER_CONTAINER + 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def idle_ones(bench: Bench, turn: Turn, stack: ExitStack, count: int) -> list[Container]:
    """So many containers that wait to be killed, for as long as `stack` lasts."""
    found = []
    for _ in range(count):
        root = bench.ram / f"c{bench.number()}"
        conmon = bench.subject(turn.who).path
        one = Container(conmon, root, runtime="quick", log=f"k8s-file:{root}/log")
        stack.enter_context(one)
        one.launch()
        found.append(one)
    return found


@contextmanager
def alone(bench: Bench, count: int) -> Iterator[None]:
    """So many such containers without a conmon: what of the host's memory is their own."""
    gates: list[int] = []
    pids: list[int] = []
    places: list[Path] = []
    try:
        for _ in range(count):
            bundle = bench.ram / f"c{bench.number()}"
            bundle.mkdir()
            places.append(bundle)
            os.mkfifo(bundle / "gate")
            gates.append(os.open(bundle / "gate", os.O_RDWR | os.O_CLOEXEC))
            pid_file = bundle / "pidfile"
            words = ["create", "--bundle", str(bundle), "--pid-file", str(pid_file), "alone-0"]
            subprocess.run(
                [str(STANDIN / "quick"), *words],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            pids.append(int(pid_file.read_bytes()))
        yield
    finally:
        for fd in gates:  # they end with it
            os.close(fd)
        for pid in pids:
            os.waitpid(pid, 0)
        for place in places:
            shutil.rmtree(place)


def kill_all(containers: list[Container]) -> None:
    """All at once, so that none is waited for alone."""
    for one in containers:
        one.kill()


#: Of proc_meminfo(5): what processes have, and what the kernel holds for them. What is free or
#: available goes up and down with the page cache, by more than a hundred monitors have.
_IN_USE = ("AnonPages", "Shmem", "Slab", "KernelStack", "PageTables", "Percpu")


def in_use_kb() -> int:
    """Memory of the host in kB that cannot be had without ending somebody."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(words[1]) for words in lines if words[0].rstrip(":") in _IN_USE)


class PeakMemory:
    """How much the memory in use has grown at most, in MB, while the context lasts: `mb`."""

    def __enter__(self) -> PeakMemory:
        self._before = self._most = in_use_kb()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._stop.wait(0.005):
            self._most = max(self._most, in_use_kb())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def mb(self) -> float:
        """Growth so far."""
        return (self._most - self._before) / 1000
