"""C4.10, C4.16, C17: the environment is handed on as it was given, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Container
from harness_os import Deadline
from harness_proc import environment, words

GIVEN = {
    "Z_FIRST": "order is kept",
    "EMPTY": "",
    "SPACES": "  two  ",
    "NOTIFY_SOCKET": "/run/some/notify",
    "LISTEN_FDS": "0",
    "WITH.DOT": "no shell variable",
    "PYTHONPATH": "/nonexistent",
    "PYTHONHOME": "/nonexistent",
    "PYTHONSTARTUP": "/nonexistent",
    "LD_BIND_NOT": "1",
    "LANG": "xx_YY.nothing",
    "A_FIRST": "order is kept here, too",
    "LATIN1": "\udcff\udce4",
}


def given(container: Container) -> list[bytes]:
    """The environment that conmon was started with, in its order."""
    return environment(container.given_environment)


def test_runtime_environment(container: Container) -> None:
    """C4.16: the runtime sees the caller's environment, _OCI_ variables too, and nothing more."""
    container.record()
    container.command("exit 0")
    assert container.run(environment=GIVEN) == 0
    assert words(container.seen / "runtime.environ") == given(container)


def test_exit_command_environment(container: Container) -> None:
    """C4.10, C17: the exit command sees the same environment."""
    container.command("exit 0")
    after = container.exit_command()
    assert container.run(environment=GIVEN) == 0
    assert words(after / "environ") == given(container)


def test_container_environment(container: Container) -> None:
    """C4.16: no variable of conmon's own reaches the container process.

    The stand-in runtime is a shell: it adds PWD, and drops what is no shell variable.
    """
    container.record()
    container.command("cat /proc/$$/environ >seen/container.environ")
    assert container.run() == 0
    names = {word.partition(b"=")[0] for word in words(container.seen / "container.environ")}
    given_names = {word.partition(b"=")[0] for word in given(container)}
    assert names - {b"PWD", b"OLDPWD", b"SHLVL", b"_"} == given_names


def test_monitor_environment(container: Container) -> None:
    """C4.10: the monitor still shows the environment that it was started with."""
    container.fifo("start")
    container.command("exit 0")
    container.launch(environment=GIVEN)
    container.started()
    environ = Path(f"/proc/{container.monitor.pid}/environ")
    deadline = Deadline()
    while not (text := environ.read_bytes()):  # in the middle of an exec there is none
        assert not deadline.passed(), "the monitor has no environment"
    shown = text.removesuffix(b"\0").split(b"\0")
    assert [word for word in shown if not word.startswith(b"_CONMON")] == given(container)
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0


@pytest.mark.parametrize("flag", [False, True])
def test_listen_pid(container: Container, flag: bool) -> None:
    """C4.16: with --replace-listen-pid LISTEN_PID names the runtime; else it is left alone."""
    container.record()
    container.command("exit 0")
    extra = ["--replace-listen-pid"] if flag else []
    assert container.run(*extra, environment={"LISTEN_PID": "2", "LISTEN_FDS": "1"}) == 0
    seen = words(container.seen / "runtime.environ")
    expected = (container.seen / "runtime.pid").read_text() if flag else "2"
    assert f"LISTEN_PID={expected}".encode() in seen
    assert b"LISTEN_FDS=1" in seen
