"""C21.3: while conmon lingers, signals end the delay, and no child stays a zombie.

podman's API lets an exec session's conmon linger for 300 s, here it is a thousand.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from harness import Container
from harness_os import Deadline, descendants
from harness_proc import open_fds, status

LONG = ("--exit-delay", "1000")
#: A runtime that leaves a process behind before it starts the container: a hook's, say.
ORPHAN = """#!/bin/sh
(cd {bundle}; (read -r _ <orphan) & echo $! >seen/orphan)
exec {runtime} "$@"
"""
#: A runtime that has started the container, which is nobody's child any more, and is not done yet.
#: The container waits for the end of the subshell, the gate's only writer, which may reap it.
QUICK = """#!/bin/sh
for word; do [ "$previous" = --pid-file ] && file=$word; previous=$word; done
(cd {bundle}; exec 7<>gate 8<gate; (read _ <&8; exec sh command) 7>&- & printf %s $! >$file)
read -r _ <{bundle}/late
"""
STOPPED, ZOMBIE = "T", "Z"


def wait_lingering(container: Container) -> None:
    """Wait until conmon has let go of everything. Polled: that has no event."""
    container.wait_exit_file()
    wait_fds_closed(container)


def wait_fds_closed(container: Container) -> None:
    """The same of a conmon that writes no exit file."""
    pid, deadline = container.monitor.pid, Deadline()
    while set(open_fds(pid)) != {0, 1, 2}:
        assert not deadline.passed(), f"it does not linger{container.state()}"
        time.sleep(0.001)


def wait_state(pid: int, state: str) -> None:
    """Wait until a process stands still, or is dead. Polled: not its parent gets no event."""
    deadline = Deadline()
    while status(Path(f"/proc/{pid}/status"))["State"][0] != state:
        assert not deadline.passed(), f"{pid} is not {state}"
        time.sleep(0.001)


def wait_reaped(pid: int) -> None:
    """Wait until there is no such process, not even a dead one. Polled: that has no event."""
    deadline = Deadline()
    while os.path.exists(f"/proc/{pid}"):
        assert not deadline.passed(), f"{pid} is still there"
        time.sleep(0.001)


def delayed_s(container: Container, after: Path) -> float:
    """Seconds from the exit file to the exit command."""
    begun = (after / "recorded").stat().st_mtime_ns
    return (begun - container.exit_file.stat().st_mtime_ns) / 1e9


def leave_orphan(container: Container, then: str) -> None:
    """The container process leaves one behind, which ends when fifo `orphan` is written to."""
    container.fifo("orphan")
    container.record()
    container.command(f"(read -r _ <orphan) & echo $! >seen/orphan; {then}")


def use_runtime(container: Container, script: str) -> None:
    """Have conmon run this runtime."""
    runtime = container.root / "run" / "runtime"
    container.allow("run/runtime")
    runtime.write_text(script.format(bundle=container.bundle, runtime=container.runtime))
    runtime.chmod(0o755)
    container.options["-r"] = str(runtime)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.ours("2.1.6 goes on sleeping: only its child hears the signal")
def test_signal_ends_the_delay(container: Container, number: signal.Signals) -> None:
    """C21.3: the exit command runs at once, and conmon's status is the container's."""
    container.command("exit 3")
    after = container.exit_command()
    container.launch(*LONG)
    container.started()
    wait_lingering(container)
    container.monitor.signal(number)
    assert container.monitor.wait() == 3
    assert (after / "recorded").exists()


@pytest.mark.ours("2.1.6 goes on sleeping: only its child hears the signal")
def test_signal_between_the_end_and_the_delay(container: Container) -> None:
    """C21.3: one that came when the container was dead, and conmon did not know it yet, counts."""
    container.fifo("start")
    container.command("exit 0")
    after = container.exit_command()
    container.launch(*LONG)
    pid = container.started()
    monitor = container.monitor
    monitor.signal(signal.SIGSTOP)
    wait_state(monitor.pid, STOPPED)
    os.kill(pid, signal.SIGKILL)
    wait_state(pid, ZOMBIE)
    monitor.signal(signal.SIGTERM)
    monitor.signal(signal.SIGCONT)
    assert container.end() == 128 + signal.SIGKILL
    assert (after / "recorded").exists()


def test_signal_that_the_container_got(container: Container) -> None:
    """C16, C21.3: a signal from the container's life was for the container: the delay is kept."""
    container.record()
    container.command("trap 'exit 4' TERM; echo >seen/ready; while :; do sleep 0.02; done")
    after = container.exit_command()
    container.launch("--exit-delay", "1")
    container.started()
    container.wait_file(container.seen / "ready")
    container.monitor.signal(signal.SIGTERM)
    assert container.end() == 4
    assert delayed_s(container, after) >= 0.99


@pytest.mark.ours("SIGHUP ends it")
def test_signals_that_mean_nothing(container: Container) -> None:
    """C16: SIGHUP and SIGUSR1 do not end the delay, nor conmon."""
    container.command("exit 0")
    after = container.exit_command()
    container.launch("--exit-delay", "1")
    container.started()
    container.wait_exit_file()
    container.monitor.signal(signal.SIGHUP)
    container.monitor.signal(signal.SIGUSR1)
    assert container.end() == 0
    assert delayed_s(container, after) >= 0.99


@pytest.mark.ours("it ends with SIGTERM")
def test_signal_while_the_exit_command_runs(container: Container) -> None:
    """C17: conmon lives until the exit command has ended, whoever wants it to end."""
    container.command("exit 6")
    after = container.exit_command()
    os.mkfifo(after / "hang")
    container.launch()
    container.started()
    container.wait_name(after / "recorded")
    container.monitor.signal(signal.SIGTERM)
    container.open_fifo(after / "hang")
    assert container.end() == 6


@pytest.mark.ours("2.1.6 goes on sleeping: only its child hears the signal")
def test_orphan_that_ends_during_the_delay(container: Container) -> None:
    """C21.3: it is reaped; as a zombie it would keep the PID namespace of its container."""
    leave_orphan(container, "exit 0")
    container.exit_command()
    container.launch(*LONG)
    container.started()
    wait_lingering(container)
    orphan = int((container.seen / "orphan").read_bytes())
    container.open_fifo(container.bundle / "orphan")
    wait_reaped(orphan)
    container.monitor.signal(signal.SIGTERM)
    assert container.end() == 0


def test_orphan_that_ends_while_the_exit_command_runs(container: Container) -> None:
    """C21.3: it is reaped then as well."""
    leave_orphan(container, "exit 0")
    after = container.exit_command()
    os.mkfifo(after / "hang")
    container.launch()
    container.started()
    container.wait_name(after / "recorded")
    orphan = int((container.seen / "orphan").read_bytes())
    container.open_fifo(container.bundle / "orphan")
    wait_reaped(orphan)
    container.open_fifo(after / "hang")
    assert container.end() == 0


@pytest.mark.ours("it waits for the container, too (C20.22)")
def test_child_of_a_failed_create_that_ends_during_the_delay(container: Container) -> None:
    """C21.3: what a runtime that failed has left is reaped while conmon lingers."""
    container.record()
    container.command("echo $$ >seen/left; exec sleep 1000")
    container.put("status", "1")
    container.exit_command()
    container.launch(*LONG)
    assert container.report() == {"data": -1}
    left = int(container.wait_file(container.seen / "left"))
    wait_fds_closed(container)
    os.kill(left, signal.SIGKILL)
    wait_reaped(left)
    container.monitor.signal(signal.SIGTERM)
    assert container.monitor.wait() == 1


@pytest.mark.ours("the client is served by conmon itself")
def test_helper_processes_are_reaped_during_the_delay(container: Container) -> None:
    """C21.3: who has the log written to the disk, and who serves a client, leave no zombie."""
    container.fifo("start")
    container.command("head -c 900000 /dev/zero")
    container.exit_command()
    container.launch(*LONG)
    container.started()
    client = container.attach()
    container.open_fifo(container.bundle / "start")
    wait_lingering(container)
    monitor = container.monitor
    helpers = [row.pid for row in descendants() if row.ppid == monitor.pid]
    assert len(client.read_all()) == 900_000
    for helper in helpers:
        wait_reaped(helper)
    monitor.signal(signal.SIGTERM)
    assert container.end() == 0


@pytest.mark.ours("it waits for the runtime only")
def test_orphan_that_ends_while_the_runtime_runs(container: Container) -> None:
    """C21.3: it is reaped, though the runtime hangs; the container starts as ever."""
    container.fifo("hang")
    container.fifo("orphan")
    container.record()
    use_runtime(container, ORPHAN)
    container.command("exit 3")
    container.launch()
    orphan = int(container.wait_file(container.seen / "orphan"))
    container.open_fifo(container.bundle / "orphan")
    wait_reaped(orphan)
    container.open_fifo(container.bundle / "hang")
    container.started()
    assert container.end() == 3


@pytest.mark.ours("it waits for the runtime only")
def test_container_that_ends_while_the_runtime_runs(container: Container) -> None:
    """C16, C21.3: its exit code is kept, though it is reaped before its pid is known to conmon."""
    use_runtime(container, QUICK)
    container.fifo("late")
    container.record()
    container.command("echo $$ >seen/pid; echo out; kill -9 $$")
    container.launch()
    wait_reaped(int(container.wait_file(container.seen / "pid")))
    container.open_fifo(container.bundle / "late")
    container.started()
    assert container.end() == 137
    assert container.persist_exit.read_bytes() == b"137"
    assert b"out" in container.log.read_bytes()
