"""What a monitor costs while its container does nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from harness import Container
from harness_os import Deadline
from harness_proc import IDLE_MAX_KB, context_switches, private_dirty_kb, settled, words

BUFFERS_KB = 64 + 400  # a chunk and its records


def launch_idle(container: Container, *options: str) -> int:
    """A container that waits for ever; returns when the monitor has settled: its pid."""
    container.fifo("start")
    container.command("exit 0")
    container.launch(*options)
    container.started()
    settled(container.monitor.pid)
    return container.monitor.pid


def end(container: Container) -> None:
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0


@pytest.mark.ours("the C conmon has 320 kB and more")
def test_memory(container: Container) -> None:
    """E2: an idle monitor has at most 100 kB of private dirty memory."""
    pid = launch_idle(container)
    assert private_dirty_kb(pid) <= IDLE_MAX_KB
    end(container)


@pytest.mark.ours("the C conmon has 320 kB and more")
def test_memory_after_much_output(container: Container) -> None:
    """E2: buffers are given back after a burst."""
    container.fifo("go")
    container.command(f"yes {'x' * 99} | head -c 50000000; echo done; read -r _ <go")
    container.launch("--log-size-max", "1000000")
    container.started()
    container.wait_log(b" F done\n")
    settled(container.monitor.pid)
    assert private_dirty_kb(container.monitor.pid) <= IDLE_MAX_KB
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


@pytest.mark.ours("the C conmon has 320 kB and more")
def test_memory_without_a_pause(container: Container) -> None:
    """A container that never stops writing does not keep the launch life's memory in use."""
    container.fifo("go")
    container.command("while :; do echo line; done & read -r _ <go; kill $!; wait")
    container.launch("--log-size-max", "1000000")
    container.started()
    pid = container.monitor.pid
    deadline = Deadline()
    # Polled: memory has no event. What is in use are the buffers: one page each of a few.
    while private_dirty_kb(pid) > IDLE_MAX_KB + BUFFERS_KB:
        assert not deadline.passed(), private_dirty_kb(pid)
        time.sleep(0.01)
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


@pytest.mark.parametrize("options", [[], ["-i"]])
def test_no_wake_ups(container: Container, options: list[str]) -> None:
    """E1: no wake-up in a second in which nothing happens."""
    pid = launch_idle(container, *options)
    before = context_switches(pid)
    time.sleep(1)  # the measurement: nothing may happen in it
    assert context_switches(pid) == before
    end(container)


def test_no_wake_ups_with_an_idle_client(container: Container) -> None:
    """E1: a client that is attached and silent costs no wake-up."""
    pid = launch_idle(container, "-i")
    container.attach()
    before = settled(pid)
    time.sleep(1)  # the measurement: nothing may happen in it
    assert context_switches(pid) == before
    end(container)


def test_one_name_for_all_lives(container: Container) -> None:
    """E3: same pid, argv and comm while idle and while the exit command runs."""
    after = container.exit_command()
    os.mkfifo(after / "hang")
    pid = launch_idle(container)
    assert Path(f"/proc/{pid}/comm").read_text() == "conmon\n"
    argv = words(Path(f"/proc/{pid}/cmdline"))
    assert argv == [os.fsencode(word) for word in container.argv]
    container.open_fifo(container.bundle / "start")
    container.wait_name(after / "recorded")
    assert (after / "parent.pid").read_text() == str(pid)
    assert (after / "parent.comm").read_text() == "conmon\n"
    assert words(after / "parent.argv") == argv
    assert int(container.conmon_pidfile.read_bytes()) == pid
    container.open_fifo(after / "hang")
    assert container.end() == 0
