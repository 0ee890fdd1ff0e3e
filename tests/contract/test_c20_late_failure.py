"""C20.1: a call that fails once the runtime was started does not cost the container its monitor."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest
from harness import Container
from harness_log import written
from harness_os import ARM64, Deadline
from harness_proc import status
from harness_terminal import with_terminal

pytestmark = pytest.mark.ours("it ends, and nobody learns the exit code")

OUTPUT = b"early\r\n"
POLL = "ppoll" if ARM64 else "poll"


def traced(trace: Path, *words: str) -> list[str]:
    """Words before a command, of which this very process alone is traced."""
    if shutil.which("strace") is None:
        assert "CI" not in os.environ, "strace is missing"
        pytest.skip("strace, which lets calls fail, is not installed")
    return ["strace", "-D", "-qq", "-s", "200", *words, "-o", str(trace)]


def session(container: Container) -> None:
    """A session on a terminal that has written and ended before its runtime has."""
    with_terminal(container, "echo early; exit 5")
    container.options["-e"] = None
    container.options["--exec-process-spec"] = str(container.bundle / "process.json")
    container.put("process.json", "{}")
    del container.options["--conmon-pidfile"]
    container.options.pop("--sandbox", None)  # strict has a vfork of its own before the runtime's
    container.fifo("late")
    container.allow("run/trace", "run/trace.inject")


def let_runtime_end(container: Container) -> None:
    """Not before the session is dead: else the calls would not be the same each time. Polled."""
    pid = int(container.wait_file(container.pidfile))
    deadline = Deadline()
    while status(Path(f"/proc/{pid}/status"))["State"][0] != "Z":
        assert not deadline.passed(), f"{pid} does not end"
        time.sleep(0.001)
    container.open_fifo(container.bundle / "late")


def calls(trace: str, name: str) -> tuple[int, int]:
    """How often a call was made before the runtime was started, and after it in this life."""
    text, _, rest = trace.partition("CLONE_VFORK" if ARM64 else "vfork(")
    assert rest, "the runtime is not started by vfork"
    rest, _, monitor = rest.partition("conmon-counters")
    assert monitor
    count = re.compile(rf"^{name}\(", re.MULTILINE).findall
    return len(count(text)), len(count(rest))


def run(container: Container, words: list[str]) -> None:
    """The session under strace, from start to end: its code and output arrive."""
    container.launch("--sync", wrapper=words)
    let_runtime_end(container)
    container.started()
    assert container.report() == {"data": 5}
    assert container.wait_exit_file() == b"5"
    container.parent_status()
    assert written(container.log.read_bytes()) == OUTPUT
    for path in (container.exit_file, container.persist_exit, container.log, container.pidfile):
        path.unlink()
    container.close_sync()
    container.close_start()


@pytest.mark.parametrize(
    ("name", "error"),
    [("close", "EIO"), ("close", "EINTR"), (POLL, "ENOMEM"), ("ioctl", "EIO")],
)
def test_call_that_fails(container: Container, name: str, error: str) -> None:
    """C20.1: every occurrence of a call between the runtime's start and the monitor fails once."""
    session(container)
    trace = container.root / "run" / "trace"
    run(container, traced(trace))
    before, after = calls(trace.read_text(), name)
    assert after
    inject = container.root / "run" / "trace.inject"
    for number in range(before + 1, before + after + 1):
        run(
            container,
            traced(
                inject, "-e", f"trace={name}", "-e", f"inject={name}:error={error}:when={number}"
            ),
        )
        # how often it waits is not the same each time
        assert "(INJECTED)" in inject.read_text() or number > before + 1


@pytest.mark.parametrize("error", ["ENFILE", "ENOMEM", "EINTR"])
def test_pid_file_that_cannot_be_opened_at_once(container: Container, error: str) -> None:
    """C20.1: what the system lacks for a moment is asked for again."""
    session(container)
    inject = container.root / "run" / "trace.inject"
    path = ["-P", str(container.pidfile), "-e", "trace=openat"]
    run(container, traced(inject, *path, "-e", f"inject=openat:error={error}:when=1..3"))
    assert inject.read_text().count("(INJECTED)") == 3


def test_report_that_cannot_be_sent(container: Container) -> None:
    """C20.1, C6.1: whoever cannot be told of the start is told nothing more; the code is kept."""
    session(container)
    trace = container.root / "run" / "trace"
    run(container, traced(trace))
    lines = re.findall(r"^write\(.*", trace.read_text(), re.MULTILINE)
    (number,) = [at for at, line in enumerate(lines, 1) if '{\\"data\\": ' in line][:1]
    inject = ["-e", "trace=write", "-e", f"inject=write:error=EIO:when={number}"]
    container.launch("--sync", wrapper=traced(trace.with_suffix(".inject"), *inject))
    let_runtime_end(container)
    assert container.wait_exit_file() == b"5"
    assert container.message() == b""
    container.parent_status()
