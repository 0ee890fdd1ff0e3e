"""When the finish life cannot be entered, the core does its work (ARCHITECTURE, handoff)."""

from __future__ import annotations

import os
import shutil

import pytest
from harness import Container

pytestmark = pytest.mark.ours("it has one life")


def launch_without_finish_life(container: Container, *options: str) -> None:
    """Start a container whose monitor can never again execute its own file."""
    binary = container.root / "tmp" / "conmon"
    shutil.copy(container.conmon, binary)
    container.allow("tmp/conmon")
    container.conmon = binary
    container.fifo("start")
    container.launch(*options)
    container.started()
    assert container.monitor.alive()
    binary.chmod(0)  # execve of /proc/self/exe now fails with EACCES, for root too
    container.open_fifo(container.bundle / "start")


@pytest.mark.parametrize("code", [0, 37])
def test_exit_files_are_written(container: Container, code: int) -> None:
    """C17: both exit files hold the code, and the attach socket is gone."""
    container.command(f"exit {code}")
    launch_without_finish_life(container)
    assert container.end() == code
    assert (container.root / "persist" / "exit").read_bytes() == b"%d" % code
    assert not (container.bundle / "attach").exists()


def test_persist_dir_comes_first(container: Container) -> None:
    """C17.8, C17.9: the order is the same as in the finish life."""
    container.command("exit 3")
    launch_without_finish_life(container)
    assert container.end() == 3
    moved = [(e.directory, e.name) for e in container.events if e.what == "MOVED_TO"]
    assert moved[-2:] == [("persist", "exit"), ("exits", container.exit_file.name)]


def test_exit_command_runs(container: Container) -> None:
    """C17: the exit command runs after the exit files, and its failure is conmon's status."""
    container.command("exit 5")
    seen = container.root / "tmp" / "seen"
    container.allow("tmp/seen")
    command = f"cat {container.exit_file} {container.root}/persist/exit >{seen}"
    launch_without_finish_life(
        container, "--exit-command", "/bin/sh", "--exit-command-arg=-c",
        f"--exit-command-arg={command}",
    )  # fmt: skip
    assert container.end() == 5
    assert seen.read_bytes() == b"55"
    assert os.access(container.exit_file, os.R_OK)
