"""Memory cgroups (v1) of the tests' own."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from pathlib import Path

import pytest
from harness import Container
from harness_os import Deadline
from harness_proc import open_fds

MOUNT = Path("/sys/fs/cgroup/memory")
LIMIT = 20_000_000  # bytes

_number = itertools.count()


class MemoryCgroup:
    """A cgroup below the root of the v1 memory controller, with a limit.

    The container that the stand-in runtime starts is put into it before its pid is reported.
    """

    def __init__(self, container: Container) -> None:
        if os.getuid() != 0 or not (MOUNT / "memory.limit_in_bytes").exists():
            why = "no memory controller of cgroup v1 that this process may use"
            if "CI" in os.environ:
                pytest.fail(why)
            pytest.skip(why)
        self.path = MOUNT / f"conmon-test-{os.getpid()}-{next(_number)}"
        self.path.mkdir()
        container.on_close(self.remove)
        (self.path / "memory.limit_in_bytes").write_text(str(LIMIT))
        container.put("cgroup", str(self.path))

    def counts(self) -> dict[str, int]:
        """The fields of memory.oom_control."""
        lines = (self.path / "memory.oom_control").read_text().splitlines()
        return {line.split()[0]: int(line.split()[1]) for line in lines}

    def wait_count(self, name: str, least: int = 1) -> None:
        """Wait until a field has at least this value. Polled: the event is what is tested."""
        deadline = Deadline()
        while self.counts()[name] < least:
            assert not deadline.passed(), f"{name} of {self.counts()}"
            time.sleep(0.002)

    def wait_watched(self, pid: int, watched: bool = True) -> None:
        """Wait until a monitor holds the count of kills open, or does not any more. Polled."""
        deadline = Deadline()
        name = str(self.path / "memory.oom_control")
        while any(path.startswith(name) for path in open_fds(pid).values()) != watched:
            assert not deadline.passed(), f"{open_fds(pid)}"
            time.sleep(0.002)

    def take_out(self, pid: int) -> None:
        """Move a process out of it."""
        (MOUNT / "cgroup.procs").write_text(str(pid))

    def remove(self) -> None:
        """Remove it. What has just died may still count for a moment."""
        deadline = Deadline()
        while self.path.exists():
            for pid in (self.path / "cgroup.procs").read_text().split():  # a test has failed
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                self.path.rmdir()
                return
            assert not deadline.passed(), f"{self.path} cannot be removed"
            time.sleep(0.01)
