"""C17, C20.18: the exit command, whatever it is given and whatever fails before it."""

from __future__ import annotations

import os
import shutil

import pytest
from harness import Container
from harness_os import ARM64
from harness_proc import signals, status, words
from harness_syslog import Syslog


def fork_that_fails(container: Container) -> list[str]:
    """The wrapper under which the first child after the runtime, made by vfork, cannot be had."""
    if shutil.which("strace") is None:
        assert "CI" not in os.environ, "strace is missing"
        pytest.skip("strace, which has system calls fail, is not installed")
    container.allow("run/trace")
    trace = str(container.root / "run" / "trace")
    when = 2 if ARM64 else 1  # there vfork is a clone too
    calls = ["-e", "trace=clone,fsync", "-e", f"inject=clone:error=EAGAIN:when={when}"]
    return ["strace", "-D", "-qq", "-o", trace, *calls]


@pytest.mark.parametrize("count", [4094, 4096, 30_000])
def test_many_arguments(container: Container, count: int) -> None:
    """C17: all arguments reach the exit command, empty ones too."""
    many = ["" if number % 3 else str(number) for number in range(count - 1)]
    container.command("exit 0")
    after = container.exit_command(*many)
    assert container.run() == 0
    assert words(after / "argv") == [str(after).encode(), *(word.encode() for word in many)]


def test_long_arguments(container: Container) -> None:
    """C17: arguments of 1.5 MB in all, each as long as the kernel takes them."""
    long = ["x" * 131_071] * 12
    container.command("exit 0")
    after = container.exit_command(*long)
    assert container.run() == 0
    assert words(after / "argv")[1:] == [word.encode() for word in long]


@pytest.mark.ours("the exit command is not run")
def test_no_process_for_the_exit_command(container: Container) -> None:
    """C17: it takes conmon's place then, with signals as they should be, and so does its status."""
    container.command("exit 21")
    after = container.exit_command()
    (after / "result").write_text("5")
    syslog = Syslog(container)
    wrapper = [*syslog.wrapper, *fork_that_fails(container)]
    del container.options["--conmon-pidfile"]
    container.launch("--sync", "--syslog", "--no-sync-log", wrapper=wrapper)
    container.started()
    assert container.parent_status() == 5
    assert container.exit_file.read_bytes() == b"21"
    assert (after / "recorded").exists()
    assert b"Cannot fork for the exit command" in syslog.next().text
    state = status(after / "status")
    assert (signals(state["SigBlk"]), signals(state["SigIgn"])) == (set(), set())


@pytest.mark.ours("its parent does without")
def test_no_process_for_the_log_sync(container: Container) -> None:
    """C17.3, C20.23: nothing waits for the disk then either; conmon says that it is left out."""
    container.command("echo x; exit 5")
    syslog = Syslog(container)
    wrapper = [*syslog.wrapper, *fork_that_fails(container)]
    del container.options["--conmon-pidfile"]
    container.launch("--sync", "--syslog", wrapper=wrapper)
    container.started()
    assert container.end() == 5
    trace = (container.root / "run" / "trace").read_bytes()
    assert b"clone(" in trace
    assert b"fsync(" not in trace
    assert b"Cannot fsync the log, the system writes it to disk later" in syslog.next().text


@pytest.mark.ours("it says nothing")
def test_exit_command_that_cannot_be_executed(container: Container) -> None:
    """C17: why the exit command could not be run is said."""
    container.options["--exit-command"] = "/no/such/command"
    container.command("exit 21")
    syslog = Syslog(container)
    container.launch("--syslog", wrapper=syslog.wrapper)
    container.started()
    assert container.end() == 21
    text = b"Failed to execute the exit command: No such file or directory"
    assert syslog.next().text.endswith(text)
