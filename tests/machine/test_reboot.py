"""A reboot with containers and sessions at work, in two halves: `make check-vm` runs both.

The first half prepares and is followed by the reboot, the second looks at what was left.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from .engine import Engine, run, until
from .test_service import request

NOTE = Path("/var/lib/conmon-reboot.json")
SERVE = "trap 'sleep 1; echo stopped; exit 23' TERM; echo up; while :; do sleep 0.1; done"
HALF = os.environ.get("CONMON_MACHINE")


@pytest.mark.skipif(HALF != "before", reason="for the time before a reboot: make check-vm")
def test_before(root: Engine, user: Engine) -> None:
    """C17: three containers, a session that runs, and one of the API's that lingers."""
    names = []
    for engine in (root, user):
        name = engine.sh(SERVE, "--log-driver=k8s-file")
        engine.wait_logs(name, "up")
        names.append(name)
    run("systemctl", "start", "podman.socket")
    until(lambda: request("GET", "/_ping")[0] == 200, "the service")
    wanted = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
    session = json.loads(request("POST", f"/containers/{names[0]}/exec", wanted)[1])["Id"]
    assert request("POST", f"/exec/{session}/start", {"Detach": False, "Tty": False})[0] == 200
    root("exec", "-d", names[0], "sleep", "1000")
    NOTE.write_text(json.dumps(names))


@pytest.mark.skipif(HALF != "after", reason="for the time after a reboot: make check-vm")
def test_after(root: Engine, user: Engine) -> None:
    """C16, C17: systemd had to kill nobody, and the containers' last words and codes are there."""
    names = json.loads(NOTE.read_text())
    journal = run("journalctl", "--boot=-1", "--output=cat", "--no-pager").text
    late = [line for line in journal.splitlines() if "timed out" in line or "SIGKILL" in line]
    assert not [line for line in late if "libpod" in line or "podman" in line]
    for engine, name in zip((root, user), names, strict=True):
        state = engine.inspect(name)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 23)
        assert engine.logs(name)[-1] == "stopped"
