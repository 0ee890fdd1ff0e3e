"""C16, C20.17: signals that come while the runtime runs, and as it ends."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from harness import Container
from harness_os import Process

pytestmark = pytest.mark.ours("older versions hand them on to whatever there is")


def strace(*words: str) -> list[str]:
    """Words before a command, of which this very process alone is traced."""
    if shutil.which("strace") is None:
        assert "CI" not in os.environ, "strace is missing"
        pytest.skip("strace, which sends the signal at the right moment, is not installed")
    return ["strace", "-D", "-qq", *words]


def test_at_the_end_of_the_runtime(container: Container) -> None:
    """C16: a signal that comes just when the runtime's status is taken is the container's."""
    del container.options["--conmon-pidfile"]
    container.options.pop("--sandbox", None)  # strict has waited for a child of its own
    trace = container.root / "run" / "trace"
    container.allow("run/trace")
    container.command("exec sleep 1000")
    inject = ["-e", "trace=wait4", "-e", "inject=wait4:signal=SIGTERM:when=1"]
    container.launch("--sync", wrapper=[*strace(*inject), "-o", str(trace)])
    container.started()
    assert container.wait_exit_file() == b"143"
    assert container.parent_status() == 143


@pytest.mark.parametrize("exec_mode", [False, True], ids=["create", "exec"])
def test_after_the_end_of_the_runtime(container: Container, exec_mode: bool) -> None:
    """C16: one that comes when the runtime is dead, and not yet waited for, is not lost on it."""
    if exec_mode:
        container.options["-e"] = None
        container.options["--exec-process-spec"] = str(container.bundle / "process.json")
        container.put("process.json", "{}")
    container.record()
    container.fifo("hang")
    container.command("exec sleep 1000")
    container.launch()
    runtime = Process(int(container.wait_file(container.seen / "runtime.pid")))
    container.on_close(runtime.close)
    monitor = container.monitor
    monitor.signal(signal.SIGSTOP)
    stopped(monitor.pid)
    container.open_fifo(container.bundle / "hang")
    runtime.wait_gone()
    monitor.signal(signal.SIGTERM)
    monitor.signal(signal.SIGCONT)
    container.started()
    assert container.wait_exit_file() == b"143"


def stopped(pid: int) -> None:
    """Wait until a process that was sent SIGSTOP has stopped: its parent is told."""
    os.waitid(os.P_PID, pid, os.WSTOPPED)
