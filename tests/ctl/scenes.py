"""Containers at work, for the tests to look at."""

from __future__ import annotations

from harness import Container


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
    return container.started()


def finish(container: Container, status: int = 0) -> None:
    """Let it end."""
    container.open_fifo(container.bundle / "finish")
    assert container.end() == status
