"""Other work for the machine: users' hosts have some."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from bench import kernel


@contextmanager
def busy(count: int) -> Iterator[frozenset[int]]:
    """Run so many processes that do nothing but run; their pids. They end with this one."""
    pids: list[int] = []
    try:
        pids.extend(_run() for _ in range(count))
        yield frozenset(pids)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _run() -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    kernel.end_with_parent()
    while os.getppid() == parent:  # it may have gone before that was asked for
        for _ in range(1_000_000):
            pass
    os._exit(0)
