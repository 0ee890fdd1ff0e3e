"""Kills for want of memory, by the kernel, and of a whole cgroup, as systemd-oomd does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .engine import Engine, until

EAT = "tail /dev/zero"
LIMIT = ("--memory", "20m", "--memory-swap", "20m")


@pytest.mark.parametrize(
    ("script", "code"), [(f"exec {EAT}", 137), (f"{EAT}; exit 3", 3)], ids=["first", "another"]
)
def test_process_is_killed(owner: Engine, runtime: str, script: str, code: int) -> None:
    """C15: podman knows of a kill of any process; the code is that of the first one."""
    name = owner.sh(script, f"--runtime={runtime}", *LIMIT)
    assert owner.wait(name) == code
    assert owner.inspect(name)["State"]["OOMKilled"]


def test_cgroup_is_killed(root: Engine) -> None:
    """C15, C16: who kills the cgroup makes it 137, and no kill of the kernel's for memory."""
    name = root.sh("exec sleep 1000")
    pid = root.inspect(name)["State"]["Pid"]
    path = Path(f"/proc/{pid}/cgroup").read_text().strip().partition("::")[2]
    scope = next(Path("/sys/fs/cgroup").glob(path.lstrip("/")))
    (scope / "cgroup.kill").write_text("1")
    assert root.wait(name) == 137
    until(lambda: root.inspect(name)["State"]["Status"] == "exited", "the end")
    assert not root.inspect(name)["State"]["OOMKilled"]
