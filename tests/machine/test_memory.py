"""Kills for want of memory: by the kernel, by systemd-oomd, and of a whole cgroup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .engine import Engine, run, show, until

EAT = "tail /dev/zero"
LIMIT = ("--memory", "20m", "--memory-swap", "20m")


@pytest.mark.parametrize(
    ("script", "code"), [(f"exec {EAT}", 137), (f"{EAT}; exit 3", 3)], ids=["first", "another"]
)
def test_process_is_killed(owner: Engine, script: str, code: int) -> None:
    """C15: podman knows of a kill of any process; the code is that of the first one."""
    name = owner.sh(script, *LIMIT)
    assert owner.wait(name) == code
    assert owner.inspect(name)["State"]["OOMKilled"]


@pytest.fixture
def swap() -> Iterator[None]:
    """What systemd-oomd goes by is reclaim, and without swap nothing of a process is reclaimed."""
    path = Path("/var/tmp/swap")
    run("fallocate", "--length", "512M", str(path))
    path.chmod(0o600)
    run("mkswap", str(path))
    run("swapon", str(path))
    yield
    run("swapoff", str(path))
    path.unlink()


@pytest.fixture
def oomd() -> Iterator[None]:
    """systemd-oomd, which kills in machine.slice where memory is short for a second."""
    settings = ("ManagedOOMMemoryPressure=kill", "ManagedOOMMemoryPressureLimit=1%",
                "ManagedOOMMemoryPressureDurationSec=1s")  # fmt: skip
    run("systemctl", "start", "systemd-oomd.service")
    assert show("systemd-oomd.service", "ActiveState")["ActiveState"] == "active"
    run("systemctl", "set-property", "--runtime", "machine.slice", *settings)
    yield
    run("systemctl", "set-property", "--runtime", "machine.slice", "ManagedOOMMemoryPressure=auto")
    run("systemctl", "stop", "systemd-oomd.service", "systemd-oomd.socket")


@pytest.mark.usefixtures("swap", "oomd")
def test_systemd_oomd(root: Engine) -> None:
    """C15, C16: who is killed for pressure on memory ends with 137; the kernel killed nobody."""
    name = root.sh(f"until test -e /go; do sleep 0.1; done; exec {EAT}")
    full_id = root.inspect(name)["Id"]
    # the kernel slows it down there, and kills nobody
    run("systemctl", "set-property", "--runtime", f"libpod-{full_id}.scope", "MemoryHigh=20M")
    root("exec", name, "touch", "/go", code=None)  # it may be killed before podman has ended
    assert root.wait(name) == 137
    assert not root.inspect(name)["State"]["OOMKilled"]
    journal = ("journalctl", "--unit=systemd-oomd", "--output=cat", "--no-pager")
    until(lambda: f"libpod-{full_id}" in run(*journal).text, "systemd-oomd's message")


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
