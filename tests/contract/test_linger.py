"""The linger life, in which podman lets an exec session's conmon be for 300 s, costs nothing.

Whatever was there before it, no exec need have thrown it away.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from harness import Container
from harness_proc import IDLE_MAX_KB, open_fds, settled, signals, status

pytestmark = pytest.mark.ours("it has one life, with 320 kB and more")

CLIENTS = 8


def hang(container: Container) -> Path:
    """An exit command that waits; its fifo."""
    after = container.exit_command()
    os.mkfifo(after / "hang")
    return after / "hang"


def dirty_kb(pid: int) -> int:
    """Memory that a process has written to, in kB, be it shared with a child or not."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = re.findall(r"^(?:Private|Shared)_Dirty: +(\d+)", text, re.MULTILINE)
    return sum(map(int, sizes))


def assert_lean(container: Container, fifo: Path) -> None:
    """What the linger life is while the exit command runs; then lets that end."""
    container.wait_name(fifo.parent / "recorded")
    pid = container.monitor.pid
    settled(pid)
    assert dirty_kb(pid) <= IDLE_MAX_KB
    assert set(open_fds(pid)) == {0, 1, 2}
    assert not signals(status(Path(f"/proc/{pid}/status"))["SigCgt"])
    container.open_fifo(fifo)
    container.monitor.wait()


def test_after_much_output(container: Container) -> None:
    """Figures: the buffers of a burst that ends with the container are given back."""
    fifo = hang(container)
    container.command(f"yes {'x' * 99} | head -c 5000000")
    container.launch("--log-size-max", "1000000")
    container.started()
    assert_lean(container, fifo)


def test_after_clients_that_do_not_read(container: Container) -> None:
    """Figures: what clients have not read by the end is in the memory of their own process only."""
    fifo = hang(container)
    container.fifo("start")
    container.command("head -c 900000 /dev/zero")
    container.launch()
    container.started()
    clients = [container.attach() for _ in range(CLIENTS)]
    container.open_fifo(container.bundle / "start")
    assert_lean(container, fifo)
    for client in clients:
        assert client.read_all() == bytes(900_000)


def test_after_a_failed_create(container: Container) -> None:
    """C4.19, Figures: no interpreter waits for the exit command of a container that never was."""
    fifo = hang(container)
    container.put("stderr", b"boom")
    container.put("status", "1")
    container.launch()
    assert container.report() == {"data": -1, "message": "boom"}
    assert_lean(container, fifo)
    container.peer_leaves("bundle/attach")
