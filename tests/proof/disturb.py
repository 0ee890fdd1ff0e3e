"""What happens to a log and its monitor from outside.

A log is copied while the monitor stands still: what is written between a copy and the cut is lost
by the one who copies, and no conmon could count it.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness import Container
from harness_log import RECORD
from harness_os import Deadline, Process
from harness_terminal import control

from .check import Piece, pieces


def _state(pid: int) -> str:
    """The state of a process (proc_pid_stat(5)), X where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


@contextmanager
def standing_still(monitor: Process) -> Iterator[bool]:
    """The monitor is stopped, as if its disk took so long; False when it has ended."""
    with suppress(ProcessLookupError):
        monitor.signal(signal.SIGSTOP)
    deadline = Deadline()
    while _state(monitor.pid) not in "TZX":
        assert not deadline.passed(), "the monitor does not stop"
        os.sched_yield()
    try:
        yield _state(monitor.pid) == "T"
    finally:
        with suppress(ProcessLookupError):
            monitor.signal(signal.SIGCONT)


class LogFiles:
    """All files of one log: the rotated, the moved and the copied; reached below `directory`."""

    def __init__(self, container: Container, directory: Path) -> None:
        self._container = container
        self._directory = directory
        self._log = directory / container.log.name
        self._count = 0

    def _next(self, what: str) -> Path:
        self._count += 1
        return self._directory / f"{what}.{self._count}"

    def rename(self) -> None:
        """As logrotate does: move it away, and have it reopened."""
        with suppress(FileNotFoundError):  # in the middle of a rotation there is none
            self._log.rename(self._next("moved"))
        with suppress(OSError):  # ctl is gone with the monitor
            control(self._container, b"2 0 0\n")

    def copytruncate(self) -> None:
        """As logrotate does with this word."""
        with standing_still(self._container.monitor) as still, suppress(FileNotFoundError):
            if still:
                shutil.copyfile(self._log, self._next("copied"))
                os.truncate(self._log, 0)

    def all(self) -> list[bytes]:
        """The contents of all files, in the order in which they were written."""
        found = []
        for path in self._directory.iterdir():
            ours = path.name.startswith(("ctr.log", "moved.", "copied."))
            if ours and (data := path.read_bytes()):
                found.append((_key(path, data), data))
        return [data for _, data in sorted(found)]


def _key(path: Path, log: bytes) -> tuple[bytes, bytes, int, int]:
    """Its first and last time. One burst may fill several files, and then numbers count down."""
    first = RECORD.match(log)
    last = RECORD.match(log, log.rfind(b"\n", 0, -1) + 1)
    assert first and last, f"{path.name} begins or ends with no record: {log[:99]!r} {log[-99:]!r}"
    number = path.suffix[1:] if path.name.startswith("ctr.log.") else "0"
    # conmon's own words at the beginning have a time of their own, behind that of what was read
    early, late = sorted([first["time"], last["time"]])
    return early, late, path.stat().st_mtime_ns, -int(number)


def all_pieces(files: list[bytes]) -> list[Piece]:
    return [one for data in files for one in pieces(data)]


class Disk:
    """A disk that somebody else fills and frees. `full`: perhaps at the container's end, too."""

    def __init__(self, directory: Path, pidfile: Path) -> None:
        self._ballast = directory / "ballast"
        self._pidfile = pidfile
        self.full = False

    def toggle(self) -> None:
        if self.full:
            self._free()
            return
        with open(self._ballast, "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 16, 4096):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
        self.full = True

    def _free(self) -> None:
        self._ballast.unlink(missing_ok=True)
        # A container that is not reaped yet has its monitor's last words before it.
        self.full = not Path("/proc", self._pidfile.read_text()).exists()
