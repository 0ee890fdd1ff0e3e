"""C17: the end is the same in both places that have it: finish.py, and the core where that cannot.

The core's is had by a signal that ends the interpreter in its first rename, that of an exit file.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from harness import Container, Pipes
from harness_exec import as_podman_exec
from harness_os import Deadline
from harness_rooms import CID
from harness_syslog import Syslog

pytestmark = pytest.mark.ours("it has one life")
each_end = pytest.mark.parametrize("end", ["finish.py", "the core"])

DO_NOT_BLOCK = """
import os, sys
os.set_blocking(int(os.environ["_OCI_SYNCPIPE"]), False)
os.execv(sys.argv[1], sys.argv[1:])
"""


def ending(container: Container, end: str) -> list[str]:
    """The wrapper of a conmon, which must be started with --sync."""
    strace = shutil.which("strace")
    if strace is None:
        assert "CI" not in os.environ, "strace is missing"
        pytest.skip("strace, which sends the signal at the right moment, is not installed")
    container.allow("run/trace")
    container.options.pop("--conmon-pidfile", None)  # it comes by rename, too
    words = [strace, "-D", "-qq", "-o", str(trace_of(container)), "-e", "trace=/^rename,write"]
    if end == "the core":
        words += ["-e", "inject=/^rename:signal=SIGABRT:when=1"]
    return words


def trace_of(container: Container) -> Path:
    return container.root / "run" / "trace"


def ended_by(container: Container, end: str) -> None:
    """Prove that the end was the one meant: the core's is that of a finish.py that raises, too."""
    trace = trace_of(container).read_text()
    assert ("--- SIGABRT " in trace) == (end == "the core")
    assert "internal error" not in trace


@each_end
def test_exit_file_that_cannot_be_written(container: Container, end: str) -> None:
    """C17.9: it is said, conmon's status is 1, and all the rest is done."""
    container.command(f"mkdir {container.exit_file}; exit 5")
    container.allow(f"exits/{CID}")
    after = container.exit_command()
    syslog = Syslog(container)
    container.launch("--sync", "--syslog", wrapper=[*syslog.wrapper, *ending(container, end)])
    container.started()
    text = f"Failed to write 5 to exit file: {container.exit_file}: Is a directory"
    assert syslog.until(b"exit file").text.endswith(os.fsencode(text))
    assert container.parent_status() == 1
    assert container.persist_exit.read_bytes() == b"5"
    assert not (container.bundle / "attach").exists()
    assert (after / "recorded").exists()
    ended_by(container, end)


@each_end
def test_name_that_cannot_be_removed(container: Container, end: str) -> None:
    """C17.11: it is said, conmon's status is 1, the exit code is right, the exit command runs."""
    attach = container.bundle / "attach"
    container.command(f"mount --bind {attach} {attach}; exit 5")
    container.allow("bundle/attach")
    after = container.exit_command()
    syslog = Syslog(container)
    container.launch("--sync", "--syslog", wrapper=[*syslog.wrapper, *ending(container, end)])
    container.started()
    text = b"Failed to remove symlink for attach socket directory: Device or resource busy"
    assert syslog.until(b"remove symlink").text.endswith(text)
    assert container.parent_status() == 1
    assert container.exit_file.read_bytes() == container.persist_exit.read_bytes() == b"5"
    assert (after / "recorded").exists()
    ended_by(container, end)


def fill(pipe: int) -> int:
    """Fill a pipe that has this reading end; how many bytes that took."""
    writer = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    size = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    count = 0
    try:
        while count < size:
            count += os.write(writer, b"x" * min(4096, size - count))
    finally:
        os.close(writer)
    return count


@each_end
def test_full_sync_pipe(container: Container, end: str) -> None:
    """C6, C17: a session's exit code waits for a parent that does not read."""
    as_podman_exec(container)
    # without an image of the interpreter there would be one end: the core's, as nothing is executed
    container.options["--sandbox"] = "off"
    container.command("exit 5")
    container.fifo("start")
    wrapper = [sys.executable, "-c", DO_NOT_BLOCK, *ending(container, end)]
    container.launch("--sync", wrapper=wrapper, pipes=Pipes.PIPE)
    container.started()
    count = fill(container.sync)
    container.open_fifo(container.bundle / "start")
    deadline = Deadline()
    while "EAGAIN" not in trace_of(container).read_text():  # polled: no event tells of it
        assert not deadline.passed(), "conmon does not write to the pipe"
        time.sleep(0.001)
    data = b""
    while part := container.message():
        data += part
    assert data == b"x" * count + b'{"data": 5}\n'
    assert container.parent_status() == 5
    ended_by(container, end)
