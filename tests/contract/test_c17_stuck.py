"""When the next life cannot be entered, this one does its work (docs/internals.md)."""

from __future__ import annotations

import os
import resource
import shutil
import struct
import time
from pathlib import Path

import pytest
from harness import Container
from harness_os import Deadline, Event
from harness_rooms import CID

pytestmark = pytest.mark.ours("it has one life")
each_life = pytest.mark.parametrize("life", ["monitor", "finish"])


def wait_for_monitor_life(container: Container) -> None:
    """Wait until the process has no interpreter any more: it publishes its counters then."""
    deadline = Deadline()
    counters = container.bundle / "conmon-counters"
    while not counters.is_symlink():
        assert not deadline.passed(), "the monitor life does not begin"
        time.sleep(0.001)


def launch_stuck(container: Container, life: str, *options: str) -> None:
    """Start a container whose conmon cannot execute its own file when it is to enter `life`."""
    binary = container.root / "tmp" / "conmon"
    shutil.copy(container.conmon, binary)
    container.allow("tmp/conmon")
    container.conmon = binary
    container.fifo("start")
    if life == "monitor":
        container.fifo("hang")
    container.launch(*options)
    if life == "monitor":
        # the runtime waits: conmon is in its launch life
        container.wait_name(container.bundle / "attach")
        binary.chmod(0)
        container.open_fifo(container.bundle / "hang")
    container.started()
    if life == "finish":
        wait_for_monitor_life(container)
        binary.chmod(0)  # execve of /proc/self/exe now fails with EACCES, for root too
    container.open_fifo(container.bundle / "start")


@each_life
@pytest.mark.parametrize("code", [0, 37])
def test_exit_files_are_written(container: Container, life: str, code: int) -> None:
    """C17: both exit files hold the code, and the attach socket is gone."""
    container.command(f"exit {code}")
    launch_stuck(container, life)
    assert container.end() == code
    assert (container.root / "persist" / "exit").read_bytes() == b"%d" % code
    assert not (container.bundle / "attach").exists()


@each_life
def test_persist_dir_comes_first(container: Container, life: str) -> None:
    """C17.8, C17.9: the order is the same as in the finish life."""
    container.command("exit 3")
    launch_stuck(container, life)
    assert container.end() == 3
    last = Event("MOVED_TO", "exits", CID)
    container.wait_until(lambda: last in container.events, "exit file")
    first = Event("MOVED_TO", "persist", "exit")
    assert container.events.index(first) < container.events.index(last)


@each_life
def test_exit_command_runs(container: Container, life: str) -> None:
    """C17: the exit command runs after the exit files, and its failure is conmon's status."""
    container.command("exit 5")
    seen = container.root / "tmp" / "seen"
    container.allow("tmp/seen")
    command = f"cat {container.exit_file} {container.root}/persist/exit >{seen}"
    launch_stuck(
        container, life, "--exit-command", "/bin/sh", "--exit-command-arg=-c",
        f"--exit-command-arg={command}",
    )  # fmt: skip
    assert container.end() == 5
    assert seen.read_bytes() == b"55"
    assert os.access(container.exit_file, os.R_OK)


def loaded_size(elf: Path) -> int:
    """Bytes of address space that the kernel needs for an ELF file itself (elf(5))."""
    data = elf.read_bytes()
    (table,) = struct.unpack_from("<Q", data, 0x20)
    size, count = struct.unpack_from("<HH", data, 0x36)
    headers = [
        struct.unpack_from("<IIQQQQQQ", data, table + number * size) for number in range(count)
    ]
    segments = [header for header in headers if header[0] == 1]
    end: int = max(header[3] + header[6] for header in segments)
    begin: int = min(header[3] for header in segments)
    return end - begin


@pytest.mark.parametrize("more", [304, 320, 400, 480, 560, 640, 720, 800, 880, 960, 1100, 1600])
def test_little_memory(container: Container, more: int) -> None:
    """C17: exit files and exit command, wherever the finish life runs out of memory.

    `more`: kB beyond the file itself. Below 300 the kernel or libc end the process in the exec.
    """
    container.command("exit 5")
    container.fifo("start")
    after = container.exit_command()
    container.launch()
    container.started()
    wait_for_monitor_life(container)
    limit = loaded_size(container.conmon) + more * 1024
    resource.prlimit(container.monitor.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    container.open_fifo(container.bundle / "start")
    assert container.end() == 5
    assert (container.root / "persist" / "exit").read_bytes() == b"5"
    assert (after / "recorded").exists()


@pytest.mark.parametrize("name", ["SIGABRT", "SIGBUS", "SIGPROF", "SIGSEGV"])
def test_finish_life_that_dies(container: Container, name: str) -> None:
    """C17: exit files and exit command, also where the interpreter dies with the first of them.

    SIGBUS: a page of conmon's file cannot be read from the disk.
    """
    if shutil.which("strace") is None:
        assert "CI" not in os.environ, "strace is missing"
        pytest.skip("strace, which sends the signal at the right moment, is not installed")
    trace = container.root / "run" / "trace"
    container.allow("run/trace")
    del container.options["--conmon-pidfile"]  # it comes by rename, too
    container.command("exit 5")
    after = container.exit_command()
    strace = ["strace", "-D", "-qq", "-e", "trace=/^rename",
              "-e", f"inject=/^rename:signal={name}:when=1"]  # fmt: skip
    container.launch("--sync", wrapper=[*strace, "-o", str(trace)])
    container.started()
    assert container.end() == 5
    assert f"--- {name} " in trace.read_text()
    assert (container.root / "persist" / "exit").read_bytes() == b"5"
    assert not (container.bundle / "attach").exists()
    assert (after / "recorded").exists()
