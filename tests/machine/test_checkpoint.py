"""A container that CRIU has put away into files goes on where it was."""

from __future__ import annotations

import signal

import pytest

from .engine import IMAGE, Engine, run, until


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_checkpoint_and_restore(root: Engine, runtime: str) -> None:
    """C5, C17: conmon starts a runtime that restores; the log goes on without a gap."""
    check = run("criu", "check", code=None)
    if check.code != 0:
        pytest.skip(f"this kernel is not for CRIU: {(check.out + check.err).decode().strip()}")
    script = "i=0; while sleep 0.1; do i=$((i + 1)); echo $i; done"
    name = root.name()
    root(f"--runtime={runtime}", "run", "-d", "--name", name, IMAGE, "sh", "-c", script)
    root.wait_logs(name, "3")
    root("container", "checkpoint", name)
    state = root.inspect(name)["State"]
    assert (state["Status"], state["Checkpointed"]) == ("exited", True)
    root.wait_no_monitor()
    before = root.logs(name)
    root("container", "restore", name)
    until(lambda: len(root.logs(name)) > len(before), "the container to go on")
    root("kill", name)
    assert root.wait(name) == 128 + signal.SIGKILL
    lines = root.logs(name)
    assert lines == [str(number + 1) for number in range(len(lines))]
