"""podman with systemd's cgroup manager and journald: what a current system has."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from .engine import CONMON, IMAGE, Engine, run, until


def test_system(owner: Engine) -> None:
    """What these tests are for: cgroup v2, systemd's manager, and the conmon under test."""
    info = json.loads(owner("info", "--format", "json").out)["host"]
    assert (info["cgroupManager"], info["cgroupVersion"]) == ("systemd", "v2")
    assert (info["conmon"]["path"], info["logDriver"]) == (str(CONMON), "journald")


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_run(owner: Engine, runtime: str) -> None:
    """C17, C12: output, errors and exit code of a container."""
    result = owner(
        *("--runtime", runtime, "run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7"),
        code=7,
    )
    assert (result.out, result.err) == (b"out\n", b"err\n")


def test_log_in_the_journal(owner: Engine) -> None:
    """C18, C21.5: podman finds every line in the journal, in its order."""
    name = owner.sh("seq 1000; printf end; exit 3")
    assert owner.wait(name) == 3
    wanted = [*map(str, range(1, 1001)), "end"]
    until(lambda: owner.logs(name)[-1:] == ["end"], "the last line")
    assert owner.logs(name) == wanted


def test_exec(owner: Engine) -> None:
    """C6.3, C12.4: input, output and exit code of a session."""
    name = owner.sh("exec sleep 1000")
    result = owner("exec", "-i", name, "sh", "-c", "cat; exit 9", stdin=b"in\n" * 1000, code=9)
    assert result.out == b"in\n" * 1000


def test_cgroup_of_the_monitor(owner: Engine) -> None:
    """D1: podman puts monitor and container into scopes of their own."""
    name = owner.sh("exec sleep 1000")
    state = owner.inspect(name)["State"]
    where = [Path(f"/proc/{state[pid]}/cgroup").read_text() for pid in ("Pid", "ConmonPid")]
    assert "libpod-" in where[0] and "libpod-conmon" in where[1]


def test_stop_and_kill(owner: Engine) -> None:
    """C16: the signal's handler ends the container with its code; SIGKILL is 137."""
    name = owner.sh("trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done")
    owner.wait_logs(name, "up")
    owner("stop", "--time", "100", name)
    assert owner.wait(name) == 5
    name = owner.sh("exec sleep 1000")
    owner("kill", name)
    assert owner.wait(name) == 128 + signal.SIGKILL


def test_pause(owner: Engine) -> None:
    """C4.18: a container that stands still has not ended; it goes on, and its end is seen."""
    name = owner.sh("i=0; while sleep 0.1; do i=$((i + 1)); echo $i; done")
    owner.wait_logs(name, "2")
    owner("pause", name)
    assert owner.inspect(name)["State"]["Status"] == "paused"
    before = owner.logs(name)
    owner("unpause", name)
    until(lambda: len(owner.logs(name)) > len(before), "the container to go on")
    owner("kill", name)
    assert owner.wait(name) == 128 + signal.SIGKILL


def test_health_check_timer(owner: Engine) -> None:
    """D1: systemd's timer starts a session for each check; all of them end, and none is left."""
    name = owner.sh(
        "exec sleep 1000",
        *("--health-cmd", "test -e /tmp/well", "--health-interval", "1s", "--health-retries", "1"),
    )

    def health() -> str:
        return str(owner.inspect(name)["State"]["Health"]["Status"])

    until(lambda: health() == "unhealthy", "a check that fails")
    owner("exec", name, "touch", "/tmp/well")
    until(lambda: health() == "healthy", "a check that goes well")
    owner("rm", "--force", "--time", "0", name)
    owner.wait_no_monitor()


def test_restart_policy(owner: Engine) -> None:
    """C17: the exit command starts the container again, as often as podman was told."""
    name = owner.sh("echo life; exit 6", "--restart=on-failure:3")
    until(lambda: owner.inspect(name)["RestartCount"] == 3, "the third restart")
    until(lambda: owner.inspect(name)["State"]["Status"] == "exited", "the last end")
    until(lambda: owner.logs(name) == ["life"] * 4, "four lives in the log")


def test_kube_play(owner: Engine, tmp_path: Path) -> None:
    """D1: containers of a pod that podman makes from Kubernetes' YAML."""
    play = tmp_path / "play.yaml"
    play.write_text(f"""\
apiVersion: v1
kind: Pod
metadata: {{name: played}}
spec:
  hostNetwork: true
  restartPolicy: Never
  containers:
  - {{name: one, image: {IMAGE}, imagePullPolicy: Never, command: [sh, -c, echo one; exit 4]}}
  - {{name: two, image: {IMAGE}, imagePullPolicy: Never, command: [sleep, "1000"]}}
""")
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        parent.chmod(0o755)
    owner("kube", "play", str(play))
    assert owner.wait("played-one") == 4
    until(lambda: owner.logs("played-one") == ["one"], "the log")
    assert owner.inspect("played-two")["State"]["Running"]
    owner("kube", "down", "--force", str(play))
    owner.wait_no_monitor()


def test_no_wait_of_90_seconds(root: Engine) -> None:
    """C17: systemd stops the scopes of a container at once, as at a shutdown."""
    name = root.sh("trap 'exit 8' TERM; echo up; while :; do sleep 0.1; done")
    root.wait_logs(name, "up")
    full_id = root.inspect(name)["Id"]
    began = time.monotonic()
    run("systemctl", "stop", f"libpod-{full_id}.scope")
    assert root.wait(name) == 8
    root.wait_no_monitor()
    # Not a figure of speed: systemd's own bound, after which it kills.
    assert time.monotonic() - began < 90
