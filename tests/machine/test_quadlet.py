"""Services that podman's generator makes of quadlet files."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .engine import IMAGE, Engine, run, show, until

Unit = Callable[..., str]

READY = 'printf READY=1 | socat - UNIX-SENDTO:"$NOTIFY_SOCKET"'
SERVE = "trap 'echo stopped; exit 0' TERM; while :; do sleep 0.1; done"


def quadlet(script: str, *lines: str) -> str:
    """A quadlet file whose container runs `script`."""
    head = f"[Container]\nImage={IMAGE}\nPull=never\nLogDriver=journald\n"
    words = script.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return head + f'Exec=sh -c "{words}"\n' + "\n".join(lines) + "\n"


@pytest.mark.parametrize("notify", ["conmon", "container", "healthy"])
def test_start_and_stop(root: Engine, unit: Unit, notify: str) -> None:
    """C14: systemd hears when the container is ready, and the monitor is the main process."""
    lines = {
        "conmon": [],
        "container": ["Notify=true"],
        "healthy": ["Notify=healthy", "HealthCmd=test -e /tmp/well", "HealthInterval=1s"],
    }[notify]
    ready = {"conmon": ":", "container": READY, "healthy": "touch /tmp/well"}[notify]
    service = unit(quadlet(f"sleep 1; {ready}; {SERVE}", *lines)) + ".service"
    run("systemctl", "start", service)
    state = show(service, "ActiveState", "Type", "NotifyAccess", "MainPID")
    assert (state["ActiveState"], state["Type"]) == ("active", "notify")
    assert int(state["MainPID"]) in root.monitors()
    run("systemctl", "stop", service)
    state = show(service, "ActiveState", "Result", "ExecMainStatus")
    assert state == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    root.wait_no_monitor()


def test_failure_is_the_services(root: Engine, unit: Unit) -> None:
    """C17: the container's exit code is the service's."""
    service = unit(quadlet("exit 44")) + ".service"
    run("systemctl", "start", service, code=None)
    until(lambda: show(service, "ActiveState")["ActiveState"] == "failed", "the failure")
    assert show(service, "ExecMainStatus")["ExecMainStatus"] == "44"


def test_restart_of_a_container_that_was_killed(root: Engine, unit: Unit) -> None:
    """C16, C17: systemd starts it anew when it has gone, and restarts it on request."""
    service = unit(quadlet(SERVE, "[Service]", "Restart=always", "RestartSec=0")) + ".service"
    run("systemctl", "start", service)
    pids = [show(service, "MainPID")["MainPID"]]
    name = f"systemd-{service.removesuffix('.service')}"
    root("kill", name)
    until(lambda: show(service, "NRestarts")["NRestarts"] == "1", "the restart")
    until(lambda: show(service, "ActiveState")["ActiveState"] == "active", "the new container")
    pids.append(show(service, "MainPID")["MainPID"])
    run("systemctl", "restart", service)
    pids.append(show(service, "MainPID")["MainPID"])
    assert len(set(pids)) == 3
    run("systemctl", "stop", service)
    root.wait_no_monitor()


@pytest.mark.parametrize("mode", ["mixed", "control-group"])
def test_kill_mode(root: Engine, unit: Unit, mode: str) -> None:
    """C16: systemd signals the monitor, or all there is; the container ends with its own code."""
    name = root.name()
    script = "trap 'exit 12' TERM; echo up; while :; do sleep 0.1; done"
    command = f"podman run -d --cgroups=split --sdnotify=conmon --replace --name {name} {IMAGE}"
    service = unit(
        "[Service]\nType=notify\nNotifyAccess=all\nDelegate=yes\nSuccessExitStatus=12\n"
        f'KillMode={mode}\nTimeoutStopSec=200\nExecStart={command} sh -c "{script}"\n',
        "service",
    )
    run("systemctl", "start", service + ".service")
    root.wait_logs(name, "up")
    run("systemctl", "stop", service + ".service")
    assert root.wait(name) == 12
    root.wait_no_monitor()
