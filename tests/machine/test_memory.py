"""Kills for want of memory, by the kernel and by systemd-oomd."""

from __future__ import annotations

from pathlib import Path

from .engine import IMAGE, Engine, until

EAT = "tail /dev/zero"
LIMIT = ("--memory", "20m", "--memory-swap", "20m")


def test_first_process_is_killed(owner: Engine, runtime: str) -> None:
    """C15: podman knows why, and the code is 137."""
    name = owner.name()
    owner(
        "--runtime",
        runtime,
        "run",
        "--name",
        name,
        *LIMIT,
        IMAGE,
        "sh",
        "-c",
        f"exec {EAT}",
        code=137,
    )
    assert owner.inspect(name)["State"]["OOMKilled"]


def test_another_process_is_killed(owner: Engine, runtime: str) -> None:
    """C15: the container goes on and ends with a code of its own; the kill is reported."""
    name = owner.name()
    owner(
        "--runtime",
        runtime,
        "run",
        "--name",
        name,
        *LIMIT,
        IMAGE,
        "sh",
        "-c",
        f"{EAT}; exit 3",
        code=3,
    )
    assert owner.inspect(name)["State"]["OOMKilled"]


def test_cgroup_is_killed(root: Engine) -> None:
    """C15, C16: systemd-oomd kills by cgroup.kill: 137, and no kill of the kernel's for memory."""
    name = root.sh("exec sleep 1000")
    pid = root.inspect(name)["State"]["Pid"]
    path = Path(f"/proc/{pid}/cgroup").read_text().strip().partition("::")[2]
    scope = next(Path("/sys/fs/cgroup").glob(path.lstrip("/")))
    (scope / "cgroup.kill").write_text("1")
    assert root.wait(name) == 137
    until(lambda: root.inspect(name)["State"]["Status"] == "exited", "the end")
    assert not root.inspect(name)["State"]["OOMKilled"]
