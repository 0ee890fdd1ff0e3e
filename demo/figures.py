"""Measure conmon binaries side by side: python -m demo.figures CONMON...

Prints a table (Markdown). Memory is that of an idle monitor beside a sleeping process, from
/proc/PID/smaps_rollup (proc(5)); `--version` is the median time of the whole process, from its
start to its end seen by the caller. The binaries take turns, so that all see the same noise.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from demo import runtimes
from demo.manager import Manager

VERSION_RUNS = 200
MEMORY_RUNS = 3
SETTLE_S = 1.0
PR_SET_CHILD_SUBREAPER = 36


def version_times(conmons: list[Path]) -> dict[Path, float]:
    """Median of `--version`, in ms."""
    times: dict[Path, list[float]] = {conmon: [] for conmon in conmons}
    with open(os.devnull, "wb") as null:
        quiet = [(os.POSIX_SPAWN_DUP2, null.fileno(), 1)]
        for _ in range(VERSION_RUNS):
            for conmon in conmons:
                begin = time.perf_counter()
                argv = [str(conmon), "--version"]
                pid = os.posix_spawn(conmon, argv, os.environ, file_actions=quiet)
                os.waitpid(pid, 0)
                times[conmon].append((time.perf_counter() - begin) * 1000)
    return {conmon: statistics.median(found) for conmon, found in times.items()}


def idle_memory(conmon: Path, directory: Path, name: str) -> dict[str, int]:
    """An idle monitor's memory, in kB."""
    with Manager(conmon, runtimes.bare(directory), directory, name) as manager:
        manager.launch(["/bin/sleep", "60"])
        manager.report()
        manager.start()
        time.sleep(SETTLE_S)
        return manager.memory()


def main(*names: str) -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    conmons = [Path(name).absolute() for name in names]
    memory: dict[Path, list[dict[str, int]]] = {conmon: [] for conmon in conmons}
    with tempfile.TemporaryDirectory(prefix="conmon-figures-") as directory:
        for number in range(MEMORY_RUNS):
            for place, conmon in enumerate(conmons):
                found = idle_memory(conmon, Path(directory), f"ctr{number}-{place}")
                memory[conmon].append(found)
    times = version_times(conmons)
    print("| | private dirty kB | RSS kB | file, bytes | `--version` ms |")
    print("|---|---|---|---|---|")
    for conmon in conmons:
        said = subprocess.run([conmon, "--version"], capture_output=True, text=True, check=True)
        private, resident = (
            statistics.median(found[key] for found in memory[conmon])
            for key in ("Private_Dirty", "Rss")
        )
        print(
            f"| {said.stdout.splitlines()[0]} | {private:.0f} | {resident:.0f}"
            f" | {conmon.stat().st_size:,} | {times[conmon]:.1f} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
