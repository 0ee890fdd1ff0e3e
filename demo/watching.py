"""Measure what watching costs containers: python -m demo.watching RUNC

Needs root; the package must be importable (PYTHONPATH=build/stage). Only a copy of the runtime is
watched. Prints a table (Markdown): medians of whole calls of the runtime as seen by the caller,
without and with a notifier, in turns; then how late callbacks come, and what the helper takes.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from conmon.watch import ContainerEvent, ContainerNotifier, EventType
from demo import bundle

ROUNDS, PER_ROUND = 8, 10
IDLE_S = 10.0
PR_SET_CHILD_SUBREAPER = 36


class Place:
    """A directory with a copy of the runtime, and the times of its calls, in ms."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        self._dir = directory
        self.runtime = directory / runtime.name
        shutil.copy(runtime, self.runtime)
        busybox = bundle.find_busybox()
        if busybox is None:
            raise SystemExit("There is no static busybox (make deps WHAT=demo).")
        bundle.make_rootfs(directory / "rootfs", busybox)
        self._number = 0

    def call(self, *words: str) -> float:
        """One call of the runtime."""
        begin = time.perf_counter()
        argv = [str(self.runtime), "--root", str(self._dir / "state"), *words]
        subprocess.run(argv, stdin=subprocess.DEVNULL, check=True, timeout=60)
        return (time.perf_counter() - begin) * 1000

    def life(self) -> tuple[float, float]:
        """A container from creation to removal: the times of `create` and `start`."""
        self._number += 1
        name = f"watched{self._number}"
        place = self._dir / name
        bundle.write(place, self._dir / "rootfs", ["/bin/sleep", "60"])
        pid_file = place / "pid"
        # a container keeps its creator's streams open: they must not be pipes
        create = self.call("create", "--bundle", str(place), "--pid-file", str(pid_file), name)
        start = self.call("start", name)
        pid = int(pid_file.read_text())
        self.killed_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.call("delete", "--force", name)
        return create, start


class Delays:
    """A callback that notes how late it is called, in ms."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.noticed: list[float] = []
        self.ended: list[float] = []
        self.removed = threading.Semaphore(0)

    def __call__(self, event: ContainerEvent) -> None:
        now = time.monotonic_ns()
        if not event.container_id.startswith("watched"):
            return
        self.noticed.append((now - event.mono_ns) / 1e6)
        if event.type is EventType.REMOVE_CONTAINER:
            self.ended.append((now - self._place.killed_ns) / 1e6)
            self.removed.release()


def helper_figures(pid: int) -> tuple[int, float]:
    """Private dirty kB (proc(5), smaps_rollup), and how often it wakes up in a second."""

    def switches() -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    before = switches()
    time.sleep(IDLE_S)
    wakes = (switches() - before) / IDLE_S
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(rollup.partition("Private_Dirty:")[2].split()[0]), wakes


def main(runtime: str) -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    without: list[tuple[float, float]] = []
    watched: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory(prefix="watching-", dir="/var/tmp") as directory:
        place = Place(Path(directory), Path(runtime))
        delays = Delays(place)
        for _ in range(ROUNDS):
            without += [place.life() for _ in range(PER_ROUND)]
            with ContainerNotifier(
                delays, runtime_paths=[place.runtime], pre_create=True, mode="hold"
            ):
                watched += [place.life() for _ in range(PER_ROUND)]
                for _ in range(PER_ROUND):
                    delays.removed.acquire(timeout=10)
        with ContainerNotifier(delays, runtime_paths=[place.runtime], mode="hold") as notifier:
            memory, wakes = helper_figures(notifier.helper_pid)
    print("| | without | with a notifier |\n|---|---|---|")
    for number, name in enumerate(("create", "start")):
        print(f"| `{name}` | {_median(without, number)} ms | {_median(watched, number)} ms |")
    print(f"\nnoticed to callback: {statistics.median(delays.noticed):.2f} ms")
    print(f"SIGKILL to callback: {statistics.median(delays.ended):.2f} ms")
    print(f"helper: {memory} kB private dirty, {wakes:.1f} wake-ups a second")
    return 0


def _median(times: Sequence[tuple[float, float]], number: int) -> str:
    return f"{statistics.median(pair[number] for pair in times):.1f}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
