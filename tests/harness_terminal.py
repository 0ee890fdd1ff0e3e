"""Containers with a terminal, by the stand-in runtime that knows them (CONTRACT C13)."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time
from pathlib import Path

from harness import Container
from harness_os import Deadline, is_readable
from harness_rooms import STANDIN


def with_terminal(container: Container, command: str = "") -> None:
    """Options and runtime for a container that has a terminal."""
    container.options["-r"] = str(STANDIN / "terminal")
    container.options["-t"] = None
    container.allow("bundle/tty")
    if command:
        container.command(command)


def terminal_name(container: Container) -> str:
    """Name of the container's terminal; it is there before the runtime has ended."""
    return container.wait_file(container.bundle / "tty").decode()


def size(container: Container) -> tuple[int, int]:
    """Rows and columns of the container's terminal, as the container's processes see it."""
    fd = os.open(terminal_name(container), os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    finally:
        os.close(fd)
    return rows, columns


def wait_size(container: Container, rows: int, columns: int) -> None:
    """Wait until the terminal has this size. Polled: only its processes get a signal."""
    deadline = Deadline()
    while size(container) != (rows, columns):
        assert not deadline.passed(), f"size is {size(container)}{container.state()}"
        time.sleep(0.001)


def control(container: Container, data: bytes, name: str = "ctl") -> None:
    """Write to a fifo as podman does: opened without waiting, so there must be a reader."""
    fd = os.open(container.bundle / name, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(fd, True)
    try:
        done = 0
        while done < len(data):
            done += os.write(fd, data[done:])
    finally:
        os.close(fd)


def wait_taken(path: Path) -> None:
    """Wait until everything has been read from a fifo. Polled: that has no event."""
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    deadline = Deadline()
    while is_readable(fd):
        assert not deadline.passed(), f"{path.name} is not read any more"
        time.sleep(0.001)
    os.close(fd)
