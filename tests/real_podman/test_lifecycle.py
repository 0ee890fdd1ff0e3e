"""Detached containers from start to removal: stop, kill, wait, restart, rm."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import crilog
from .bed import IMAGE
from .client import Gate, Podman
from .wait import until

SLEEPER = "trap 'echo got TERM; exit 143' TERM; echo ready; while :; do sleep 1000 & wait $!; done"


def ready(podman: Podman, script: str, *options: str) -> str:
    """A detached container that has come to its ``echo ready``: its traps are set."""
    name = podman.sh(script, *options)
    podman.wait_log(name, lambda records: any(r.data == b"ready" for r in records))
    return name


# podman's own word is "stopped" until it has cleaned up, which is after `wait` has ended.
OVER = ("stopped", "exited")


def state(podman: Podman, name: str) -> Any:
    return podman.inspect(name)["State"]


@pytest.mark.parametrize("code", [0, 37, 126, 127, 137])
def test_wait_gives_the_exit_code(podman: Podman, code: int) -> None:
    """C16, C17.9: wait and inspect have the container's exit code."""
    name = podman.sh(f"exit {code}")
    assert podman.wait(name) == code
    assert podman.wait(name) == code  # also when it ended long ago
    final = state(podman, name)
    assert (final["ExitCode"], final["Running"]) == (code, False)
    assert final["Status"] in OVER
    assert final["OOMKilled"] is False


def test_waiting_ends_with_the_container(
    podman: Podman, shared: Path, gate: Callable[[], Gate]
) -> None:
    """C17: a wait that began before the end returns the code."""
    go = gate()
    name = podman.sh(f"read x < /shared/{go.path.name}; exit 9", "-v", f"{shared}:/shared")
    with podman.start("wait", "--interval", "20ms", name) as waiter:
        go.open()
        out, err = waiter.communicate(timeout=30)
    assert (waiter.returncode, out, err) == (0, b"9\n", b"")


def test_stop_with_a_handler(podman: Podman) -> None:
    """C16: the signal reaches the container, and its last words reach the log."""
    name = ready(podman, SLEEPER)
    podman("stop", "--time", "30", name)
    assert podman.wait(name) == 143
    assert crilog.lines(podman.log(name)) == [("stdout", b"ready"), ("stdout", b"got TERM")]


def test_stop_of_a_process_that_dies_of_the_signal(podman: Podman) -> None:
    """C16: death by signal N is exit code 128+N."""
    # In the bed's own PID namespace, because a namespace's PID 1 ignores TERM by default.
    name = podman.run_detached("--pid=host", IMAGE, "sleep", "1000")
    podman("stop", "--time", "30", name)
    assert podman.wait(name) == 143


def test_stop_of_a_process_that_ignores_the_signal(podman: Podman) -> None:
    """C16: after the grace period the container is killed: 137."""
    name = ready(podman, "trap '' TERM; echo ready; while :; do sleep 1000; done")
    podman("stop", "--time", "1", name)
    assert podman.wait(name) == 137


def test_kill(podman: Podman) -> None:
    """C16: podman kill ends the container with 137."""
    name = podman.run_detached(IMAGE, "sleep", "1000")
    podman("kill", name)
    assert podman.wait(name) == 137


def test_kill_with_another_signal(podman: Podman) -> None:
    """C16: a signal that is handled does not end the container."""
    name = ready(podman, f"trap 'echo got USR1' USR1; {SLEEPER}")
    podman("kill", "--signal", "USR1", name)
    podman.wait_log(name, lambda records: records[-1].data == b"got USR1")
    assert state(podman, name)["Running"] is True


def test_kill_in_the_foreground(podman: Podman) -> None:
    """C16: the run that waits in the foreground returns 137 and what was written before."""
    name = podman.name()
    command = ("run", "--name", name, IMAGE, "sh", "-c", "echo ready; exec sleep 1000")
    with podman.start(*command) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        podman("kill", name)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (137, b"", b"")


def test_rm_force(podman: Podman) -> None:
    """D1: rm -f ends a running container and its monitor, and leaves no file of it."""
    name = podman.run_detached(IMAGE, "sleep", "1000")
    monitor = podman.monitor(name)
    bundle = podman.bundle(name)
    exit_file = podman.exit_file(name)
    podman("rm", "--force", "--time", "0", name)
    podman.bed.wait_gone(monitor.pid, "the monitor")
    assert not bundle.exists()
    assert not exit_file.exists()
    assert podman("ps", "--all", "--quiet").out == b""


def test_ps(podman: Podman) -> None:
    """D1: ps tells running from exited, with the code."""
    running = podman.run_detached(IMAGE, "sleep", "1000")
    exited = podman.sh("exit 4")
    podman.wait(exited)
    assert podman("ps", "--format", "{{.Names}}").text == running
    listing = podman("ps", "--all", "--format", "{{.Names}} {{.Status}}").text.splitlines()
    status = dict(line.split(" ", 1) for line in listing)
    assert status[running].startswith("Up ")
    assert status[exited].startswith("Exited (4) ")


def test_restart(podman: Podman) -> None:
    """C4, C7: after podman restart there is a new process under a new monitor, in one log."""
    name = ready(podman, SLEEPER)
    old = podman.monitor(name)
    old_pid = state(podman, name)["Pid"]
    podman("restart", "--time", "30", name)
    podman.wait_log(name, lambda records: [r.data for r in records].count(b"ready") == 2)
    podman.bed.wait_gone(old.pid, "the first monitor")
    new = podman.monitor(name)
    assert new.pid != old.pid
    assert state(podman, name)["Pid"] not in (0, old_pid)
    expected = [b"ready", b"got TERM", b"ready"]
    assert [line for _, line in crilog.lines(podman.log(name))] == expected


def test_restart_on_failure(podman: Podman, shared: Path) -> None:
    """C17: the exit command runs after each failure, so podman restarts as often as told."""
    script = "echo start >> /shared/starts; echo start; exit 8"
    name = podman.sh(script, "--restart=on-failure:2", "-v", f"{shared}:/shared")

    def ended() -> bool:
        now = podman.inspect(name)
        return bool(now["RestartCount"] == 2 and now["State"]["Status"] == "exited")

    until(ended, "the second restart and its end")
    podman.wait_no_monitor()
    assert (shared / "starts").read_text() == "start\n" * 3
    assert crilog.lines(podman.log(name)) == [("stdout", b"start")] * 3
    assert podman.wait(name) == 8


def test_on_failure_leaves_success_alone(podman: Podman, shared: Path) -> None:
    """C17: exit code 0 is reported as such: no restart."""
    script = "echo start >> /shared/starts"
    name = podman.sh(script, "--restart=on-failure:2", "-v", f"{shared}:/shared")
    assert podman.wait(name) == 0
    podman.wait_no_monitor()
    assert (shared / "starts").read_text() == "start\n"


def test_ten_at_a_time(podman: Podman) -> None:
    """C4, C17: ten containers started at once each get their own output and code."""
    names = [podman.name() for _ in range(10)]
    scripts = [f"echo I am {i}; exit {i}" for i in range(10)]
    starting = [
        subprocess.Popen(
            podman.argv(("run", "--name", name, IMAGE, "sh", "-c", script)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name, script in zip(names, scripts, strict=True)
    ]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in starting]
    assert ended == [(b"I am %d\n" % i, b"", i) for i in range(10)]
    for i, name in enumerate(names):
        assert crilog.lines(podman.log(name)) == [("stdout", b"I am %d" % i)]


def test_background_child_inside(podman: Podman) -> None:
    """C17.2: the container ends with its first process, though a child holds its stdout."""
    result = podman(
        "run", "--rm", IMAGE, "sh", "-c", "setsid sleep 1000 & echo bye; exit 6", code=6
    )
    assert (result.out, result.err) == (b"bye\n", b"")


def test_background_child_that_survives(podman: Podman, shared: Path) -> None:
    """C17.2: the exit is reported, though a process that survives it holds stdout open."""
    # Without a PID namespace of its own nothing kills the child when its parent ends.
    script = "setsid sleep 1000 & echo $! > /shared/pid; echo bye; exit 6"
    name = podman.sh(script, "--pid=host", "-v", f"{shared}:/shared")
    assert podman.wait(name) == 6
    assert crilog.lines(podman.log(name)) == [("stdout", b"bye")]
    # It survives where there is no cgroup in which the runtime can find and kill it. C conmon,
    # its reaper, then stays until it ends.
    child = int((shared / "pid").read_text())
    if podman.bed.proc(child).exists():
        podman.bed.kill(child)
    podman.wait_no_monitor()


def test_term_to_the_monitor_reaches_the_container(podman: Podman) -> None:
    """C16: TERM sent to the monitor is handed on; the monitor stays until the end."""
    name = ready(podman, SLEEPER)
    podman.bed.kill(podman.monitor(name).pid, "TERM")
    assert podman.wait(name) == 143
    assert crilog.lines(podman.log(name))[-1] == ("stdout", b"got TERM")


@pytest.mark.ours("SIGHUP kills it silently, without an exit file (C20.17)")
def test_hup_does_not_end_the_monitor(
    podman: Podman, shared: Path, gate: Callable[[], Gate]
) -> None:
    """C20.17: a monitor that got SIGHUP still logs and reports the exit code."""
    go = gate()
    name = podman.sh(f"read x < /shared/{go.path.name}; echo on; exit 7", "-v", f"{shared}:/shared")
    monitor = podman.monitor(name)
    podman.bed.kill(monitor.pid, "HUP")
    go.open()
    assert podman.wait(name) == 7
    assert crilog.lines(podman.log(name)) == [("stdout", b"on")]
