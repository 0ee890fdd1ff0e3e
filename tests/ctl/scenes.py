"""Containers at work, for the tests to look at."""

from __future__ import annotations

import time

from harness import Container, is_peer
from harness_os import Deadline


def cid(container: Container) -> str:
    """Its id."""
    return str(container.options["-c"])


def name(container: Container) -> str:
    """Its name."""
    return str(container.options["-n"])


def running(container: Container, script: str = "", *extra: str) -> int:
    """Start a container that does `script` and then waits for `finish`: its pid."""
    container.fifo("finish")
    container.command(f"{script}\nread -r _ <finish")
    container.launch(*extra)
    pid = container.started()
    counters = container.bundle / "conmon-counters"
    deadline = Deadline()  # the report comes before the monitor's life begins
    while not counters.exists() and not is_peer(container.conmon):
        assert not deadline.passed(), container.state()
        time.sleep(0.002)
    return pid


def finish(container: Container, status: int = 0) -> None:
    """Let it end."""
    container.open_fifo(container.bundle / "finish")
    assert container.end() == status
