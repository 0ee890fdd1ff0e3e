"""C16: signals to conmon, exit codes of the container."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from harness import Container
from harness_os import Deadline

#: A container process that says which signal it got, and exits with its number. A shell would not
#: do: it ignores INT and QUIT for what it runs in the background.
LISTENER = """exec {python} -S -c '
import os, signal
mask = {{signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}}
signal.pthread_sigmask(signal.SIG_BLOCK, mask)
for number in mask: signal.signal(number, signal.SIG_DFL)
print("ready", flush=True)
os._exit(signal.sigwait(mask))'"""


def wait_reaped(pid: int) -> None:
    """Poll until a process that is no child of the harness has gone from the process table."""
    deadline = Deadline()
    while Path(f"/proc/{pid}").exists():
        assert not deadline.passed(), f"process {pid} is not reaped"
        time.sleep(0.002)


def listen(container: Container) -> None:
    """Start a container that waits for a signal."""
    container.command(LISTENER.format(python=sys.executable))
    container.launch()
    container.started()
    container.wait_log(b"ready\n")


@pytest.mark.parametrize("code", [0, 1, 2, 37, 125, 126, 127, 128, 137, 254, 255])
def test_exit_code(container: Container, code: int) -> None:
    """C16: the exit code is in both files, and is conmon's own status."""
    container.command(f"exit {code}")
    assert container.run() == code
    assert container.persist_exit.read_bytes() == str(code).encode()
    assert container.monitor.wait() == code


PIPE = pytest.param("PIPE", marks=pytest.mark.ours("the container inherits SIGPIPE=IGN (C20.18)"))


@pytest.mark.parametrize("name", ["HUP", "TERM", "KILL", "SEGV", "USR1", PIPE])
def test_death_by_signal(container: Container, name: str) -> None:
    """C16: death by a signal is 128 and its number."""
    container.command(f"kill -s {name} $$")
    assert container.run() == 128 + signal.Signals[f"SIG{name}"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_forwarded(container: Container, name: str) -> None:
    """C16: conmon hands TERM, INT and QUIT on to the container, and stays to report its end."""
    listen(container)
    container.monitor.signal(signal.Signals[name])
    assert container.end() == signal.Signals[name]


def test_forwarded_more_than_once(container: Container) -> None:
    """C16: conmon survives any number of them."""
    container.allow("bundle/go")
    # not in a read: what comes just before that one would be heard after it
    work = "until [ -e go ]; do sleep 0.02; done; exit 9"
    container.command(f"trap 'echo got' TERM; echo ready; {work}")
    container.launch()
    container.started()
    container.wait_log(b"ready\n")
    for count in (1, 2, 3):
        container.monitor.signal(signal.SIGTERM)
        container.wait_log_count(b"got\n", count)
    container.put("go", "")
    assert container.end() == 9


@pytest.mark.ours("SIGHUP kills conmon without a word (C20.17)")
def test_hangup_is_survived(container: Container) -> None:
    """C20.17: HUP does not kill conmon: the exit code is still reported."""
    container.fifo("start")
    container.command("exit 7")
    container.launch()
    container.started()
    container.monitor.signal(signal.SIGHUP)
    container.open_fifo(container.bundle / "start")
    assert container.end() == 7


@pytest.mark.parametrize("name", ["SIGPIPE", "SIGUSR1", "SIGCHLD"])
def test_other_signals_are_survived(container: Container, name: str) -> None:
    """C16: PIPE, USR1 and CHLD from outside do nothing."""
    container.fifo("start")
    container.command("exit 7")
    container.launch()
    container.started()
    container.monitor.signal(signal.Signals[name])
    container.open_fifo(container.bundle / "start")
    assert container.end() == 7


def test_stop_and_continue(container: Container) -> None:
    """C16: a container that stops and goes on has not ended."""
    container.record()
    container.fifo("start")
    container.fifo("go")
    container.command("echo a; read -r _ <go; exit 8")
    container.launch()
    pid = container.started()
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)
    container.open_fifo(container.bundle / "start")
    container.wait_log(b"a\n")
    assert not container.exit_file.exists()
    container.open_fifo(container.bundle / "go")
    assert container.end() == 8


def test_other_children_do_not_count(container: Container) -> None:
    """C16: orphans of the container come to conmon (subreaper); their end is not the container's.

    They are reaped, so that no zombie stays for the container's life.
    """
    container.record()
    container.fifo("go")
    container.command(
        "(exit 5 & exit 6); (sh -c 'exit 4' & echo $! >seen/orphan); read -r _ <go; exit 3"
    )
    container.launch()
    container.started()
    orphan = int(container.wait_file(container.seen / "orphan"))
    wait_reaped(orphan)
    assert not container.exit_file.exists()
    container.open_fifo(container.bundle / "go")
    assert container.end() == 3
