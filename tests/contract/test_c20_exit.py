"""C20, rows 16, 22 and 23: nothing that others do, or the disk, holds up conmon's end."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from harness import Container
from harness_os import descendants, is_readable

#: strace(1) has conmon's fsync(2) wait for this long before it begins: for good, in a test.
SLOW_DISK = ["strace", "-D", "-f", "-qq", "-e", "trace=fsync", "-e", "signal=none",
             "-e", "inject=fsync:delay_enter=600000000"]  # fmt: skip


@pytest.mark.ours("the exit files come after the fsync of the log (C20.23)")
def test_slow_disk(container: Container) -> None:
    """C20.23, C17.3: the exit files do not wait until the log is on the disk; it is asked for."""
    if shutil.which("strace") is None:
        assert "CI" not in os.environ, "strace is missing"
        pytest.skip("strace, which stands for a slow disk, is not installed")
    trace = container.root / "run" / "trace"
    container.allow("run/trace")
    container.command("echo out; exit 3")
    container.launch(wrapper=[*SLOW_DISK, "-o", str(trace)])
    container.started()
    assert container.end() == 3  # conmon has ended, too
    container.wait_until(lambda: b"fsync(" in trace.read_bytes(), "the fsync")
    names = sorted(row.command.split("/")[-1].split()[0] for row in descendants())
    assert len(names) == 2, f"not strace and the process that waits for the disk: {names}"
    for row in descendants():
        if row.command.startswith("strace"):
            os.kill(row.pid, signal.SIGKILL)  # who is traced goes on


@pytest.mark.ours("it goes on reading, and never ends (C20.16)")
def test_writer_that_outlives_the_container(container: Container) -> None:
    """C20.16: processes that go on writing do not hold up the end, nor does what they wrote.

    No more is read at the end than what was in the pipe when the container process died.
    """
    container.command("for i in 1 2 3 4; do yes & yes >&2 & done; exit 3")
    assert container.run("--log-size-max", "1000000") == 3


@pytest.mark.ours("it waits for the container, too (C20.22)")
def test_live_container_after_an_early_error(container: Container) -> None:
    """C20.22, C21.10: conmon ends a container that it has given up, and does not wait for it."""
    container.put("no-pid-file", "")
    container.command("exec sleep 1000")
    after = container.exit_command()
    container.launch()
    while container.message():
        pass
    assert container.monitor.wait() == 1
    assert (after / "recorded").exists()
    assert container.nothing_runs()


@pytest.mark.ours("it does not end before the client has read (C20.1)")
def test_callers_fds_are_free_while_a_client_is_served(container: Container) -> None:
    """C17.6, C20.1, C20.23: neither who serves a client after the end, nor who syncs, holds them.

    Nor for a moment: the fd, a published port, say, is free when the first exit file appears.
    """
    read, write = os.pipe()
    container.command("head -c 1000000 /dev/zero")
    container.fifo("start")
    container.launch(pass_fds=[write])
    os.close(write)
    container.started()
    client = container.attach()
    container.open_fifo(container.bundle / "start")
    container.wait_until(container.exit_file_begun, "an exit file")
    assert is_readable(read)
    assert os.read(read, 1) == b""
    os.close(read)
    assert container.end() == 0
    assert client.read_all() == bytes(1_000_000)
