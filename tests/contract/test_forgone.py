"""What the monitor gives up before it reads what others choose (docs/security.md)."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from harness import Container
from harness_os import Deadline


def no_new_privileges(pid: int) -> bool:
    """What the kernel says of a process (prctl(2), PR_SET_NO_NEW_PRIVS)."""
    match = re.search(r"^NoNewPrivs:\t(\d)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return match[1] == "1"


@pytest.mark.ours("the C conmon gives nothing up")
def test_no_new_privileges(container: Container) -> None:
    """Security: with nothing to execute any more, no program can give the monitor rights; the
    container's are not touched."""
    container.fifo("go")
    container.command("read -r _ <go; exit 7")
    container.launch()
    pid = container.started()
    deadline = Deadline()
    while not no_new_privileges(container.monitor.pid):
        assert not deadline.passed(), container.state()
        time.sleep(0.002)
    assert not no_new_privileges(pid)
    container.open_fifo(container.bundle / "go")
    assert container.end() == 7


def test_exit_command_may_get_privileges(container: Container) -> None:
    """C17: the exit command has what conmon was started with: podman's may need more than we."""
    seen = container.root / "tmp" / "seen"
    container.allow("tmp/seen")
    container.options["--exit-command"] = "/bin/sh"
    container.options["--exit-command-arg"] = ["-c", f"cat /proc/self/status >{seen}"]
    container.command("exit 7")
    container.launch()
    container.started()
    container.monitor.wait()
    assert "NoNewPrivs:\t0\n" in seen.read_text()
