"""Instructions that conmon binaries execute: python -m bench.instructions CONMON...

Counted by callgrind (valgrind), in user space only: the same on every run to about a hundredth,
however busy the machine is, where times are not. What the kernel does for conmon is not in it.

Prints a table: `--version`; start, until conmon waits for its container, which it does in the
foreground (`--sync`); end, from there to the end of conmon; and 1 GB of log in lines of 100 bytes,
on a null device.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

from harness_os import Deadline, Inotify, is_readable, wait_fd

from bench import kernel
from bench.bench import CannotMeasureError
from bench.container import TIMEOUT_S, BenchError, Container
from bench.device import null_device
from bench.feed import Feed
from bench.stats import show
from bench.subjects import look_at

LOG_MB = (10, 30)
# Where callgrind writes what it has counted so far, and begins anew: an exec would lose it. Ours,
# if built without an image of its interpreter, changes lives by syscall(SYS_execveat).
# A child begins with a copy of what was counted, so that is written before.
CUTS = ("syscall", "fork", "vfork", "__vfork", "execve", "execv")
# The runtime, and all that it executes, is left alone.
SKIP = "*/standin/*,/bin/sh"


class Count:
    """Callgrind's files in a directory, counted as each is complete: a later life writes over it.

    `total` is what has been counted so far.
    """

    def __init__(self, conmon: Path, directory: Path) -> None:
        self.program = directory / "conmon"
        self.total = 0
        self._directory = directory / "counts"
        self._directory.mkdir()
        self.program.write_text(
            "#!/bin/sh\nexec valgrind --tool=callgrind --trace-children=yes"
            f" --trace-children-skip='{SKIP}' {' '.join(f'--dump-before={cut}' for cut in CUTS)}"
            f" --callgrind-out-file={self._directory}/%p --log-file={directory}/log.%p"
            f" --vgdb-prefix={directory}/vgdb"
            f' {conmon} "$@"\n'
        )
        self.program.chmod(0o755)
        self._inotify = Inotify()
        self._inotify.watch(self._directory, "")
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._read_all)
        self._thread.start()

    def so_far(self, pid: int) -> int:
        """Have a process that waits write what was counted; all that was counted until now."""
        words = ["vgdb", f"--vgdb-prefix={self.program.parent}/vgdb", f"--pid={pid}", "dump"]
        before = self.total
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        deadline = Deadline()
        while self.total == before:  # its file is read by the thread
            if done.returncode != 0 or deadline.passed():
                raise BenchError(f"callgrind writes nothing: {done.stderr}")
            time.sleep(0.001)
        return self.total

    def _read_all(self) -> None:
        while not is_readable(self._stop) or is_readable(self._inotify.fd):
            wait_fd(self._inotify.fd, Deadline(0.05))
            for event in self._inotify.read():
                if event.what == "CLOSE_WRITE":
                    text = (self._directory / event.name).read_text(errors="replace")
                    match = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
                    self.total += int(match[1]) if match else 0

    def __enter__(self) -> Count:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """From here on `total` is all."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        self._inotify.close()
        os.close(self._stop)


def of_version(conmon: Path, ram: Path) -> int:
    with tempfile.TemporaryDirectory(dir=ram) as name:
        with Count(conmon, Path(name)) as count:
            subprocess.run(
                [count.program, "--version"], stdout=subprocess.DEVNULL, timeout=60, check=True
            )
        return count.total


def of_container(conmon: Path, ram: Path, megabytes: int) -> tuple[int, int]:
    """One container that writes so much: instructions until the monitor waits, and after that."""
    command = Feed(100, megabytes).command if megabytes else "read -r _ <go"
    with tempfile.TemporaryDirectory(dir=ram) as name, null_device(ram) as null:
        with (
            Count(conmon, Path(name)) as count,
            Container(
                count.program,
                ram / "counted",
                command=command,
                log=f"k8s-file:{null}",
                options=["--sync"],  # valgrind knows no child that takes the memory over
            ) as c,
        ):
            c.launch()
            c.settle(0.5)  # longer than valgrind needs to begin a life
            start = count.so_far(c.monitor)
            c.go()
            if not c.wait(TIMEOUT_S):
                raise BenchError(f"{conmon} has not ended in time")
        return start, count.total - start


def millions(conmon: Path, ram: Path) -> list[float]:
    """Millions of instructions: `--version`, start, end, 1 GB of log. BenchError if it fails."""
    version = of_version(conmon, ram)
    start, end = of_container(conmon, ram, 0)
    some, more = (of_container(conmon, ram, megabytes)[1] for megabytes in LOG_MB)
    log = (more - some) * 1000 / (LOG_MB[1] - LOG_MB[0])
    return [figure / 1e6 for figure in (version, start, end, log)]


def main(*names: str) -> int:
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return 1
    kernel.become_subreaper()
    try:
        subjects = look_at([Path(name) for name in names])
        print("| millions | `--version` | start | end | 1 GB of log |")
        print("|---|---|---|---|---|")
        with tempfile.TemporaryDirectory(prefix="conmon-count-", dir="/dev/shm") as ram:
            for subject in subjects:
                figures = [show(figure) for figure in millions(subject.path, Path(ram))]
                print(f"| {' | '.join([subject.label, *figures])} |", flush=True)
    except (ValueError, BenchError, CannotMeasureError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
