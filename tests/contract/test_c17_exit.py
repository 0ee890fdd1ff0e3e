"""C17: the exit sequence."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from harness import Container
from harness_log import written
from harness_os import Event, is_readable
from harness_proc import environment, listed_fds, signals, status, words
from harness_rooms import CID


def exit_file_seen(container: Container) -> None:
    container.wait_until(lambda: Event("MOVED_TO", "exits", CID) in container.events, "exit file")


def test_callers_fds_are_closed_before_the_exit_files(container: Container) -> None:
    """C17.6, D3: a port that conmon holds for podman is free when the exit is visible."""
    read, write = os.pipe()
    container.command("exit 0")
    container.fifo("start")
    container.launch(pass_fds=[write])
    os.close(write)
    container.started()
    assert container.parent_status() == 0  # it holds the fd, too
    container.open_fifo(container.bundle / "start")
    container.wait_until(container.exit_file_begun, "an exit file")
    assert is_readable(read)
    assert os.read(read, 1) == b""
    os.close(read)
    assert container.end() == 0


def test_attach_is_removed_after_the_exit_files(container: Container) -> None:
    """C17.11: the attach socket goes last."""
    container.command("exit 0")
    assert container.run() == 0
    removed = Event("DELETE", "bundle", "attach")
    container.wait_until(lambda: removed in container.events, "removal of attach")
    assert container.events.index(Event("MOVED_TO", "exits", CID)) < container.events.index(removed)


def test_log_is_complete_at_the_exit_file(container: Container) -> None:
    """C17.2: who sees the exit file can read the whole log."""
    container.put("data", b"0123456789\n" * 5000)
    container.command("cat data")
    container.launch()
    container.started()
    exit_file_seen(container)
    assert written(container.log.read_bytes()) == b"0123456789\n" * 5000
    assert container.end() == 0


def test_exit_command_runs_after_the_exit_files(container: Container) -> None:
    """C17, D3: the exit command finds both exit files, complete."""
    container.command("exit 21")
    after = container.exit_command()
    assert container.run() == 21
    found = (after / "files").read_text().split()
    assert CID in found
    assert "exit" in found


def test_exit_command_argv(container: Container) -> None:
    """C17: the exit command's path is its argv[0]; its arguments follow as given."""
    odd = ["two words", "", "--", "-c", "a\nb"]
    container.command("exit 0")
    after = container.exit_command(*odd)
    assert container.run() == 0
    assert words(after / "argv") == [word.encode() for word in [str(after), *odd]]


def test_conmon_lives_until_the_exit_command_ends(container: Container) -> None:
    """C17, D1, D3: same pid, name and argv from conmon-pidfile to the exit command's end."""
    container.command("exit 0")
    after = container.exit_command()
    os.mkfifo(after / "hang")
    container.launch()
    container.started()
    monitor = container.monitor
    container.wait_name(after / "recorded")
    assert monitor.alive()
    assert (after / "parent.pid").read_text() == str(monitor.pid)
    assert (after / "parent.comm").read_text() == "conmon\n"
    assert words(after / "parent.argv") == [os.fsencode(word) for word in container.argv]
    assert words(Path(f"/proc/{monitor.pid}/cmdline")) == words(after / "parent.argv")
    container.open_fifo(after / "hang")
    assert monitor.wait() == 0
    assert container.exit_file.read_bytes() == b"0"


def test_sync_pipe_is_closed_before_the_exit_command_ends(container: Container) -> None:
    """C17: the caller sees end of file on the sync pipe without waiting for the exit command."""
    container.command("exit 0")
    after = container.exit_command()
    os.mkfifo(after / "hang")
    container.launch()
    container.started()
    assert container.message() == b""
    container.wait_name(after / "recorded")
    assert container.monitor.alive()
    container.open_fifo(after / "hang")
    assert container.end() == 0


@pytest.mark.ours("older versions ignore the exit command's status")
def test_exit_command_status_is_conmons(container: Container) -> None:
    """C17: an exit command that fails gives conmon its status; the exit file keeps the code."""
    container.command("exit 21")
    after = container.exit_command()
    (after / "result").write_text("5")
    assert container.run() == 21
    assert container.monitor.wait() == 5


def test_conmons_status_with_an_exit_command_that_succeeds(container: Container) -> None:
    """C17: otherwise conmon's status is the container's."""
    container.command("exit 21")
    container.exit_command()
    assert container.run() == 21
    assert container.monitor.wait() == 21


def test_exit_command_that_is_not_there(container: Container) -> None:
    """C17: the exit files are written all the same; conmon's status tells of the failure."""
    container.options["--exit-command"] = "/no/such/command"
    container.command("exit 21")
    assert container.run() == 21
    assert container.monitor.wait() != 0


def test_exit_command_fds(container: Container) -> None:
    """C17: the exit command has /dev/null as stdio and no other fd: not the caller's either."""
    read, write = os.pipe()
    os.close(read)
    container.command("exit 0")
    after = container.exit_command()
    assert container.run(pass_fds=[write]) == 0
    os.close(write)
    assert listed_fds(after / "fds") == {0: os.devnull, 1: os.devnull, 2: os.devnull}


@pytest.mark.ours("the exit command inherits blocked CHLD and USR1, and SIGPIPE=IGN (C20.18)")
def test_exit_command_signals(container: Container) -> None:
    """C20.18: the exit command starts with no signal blocked or ignored."""
    container.command("exit 0")
    after = container.exit_command()
    assert container.run() == 0
    state = status(after / "status")
    assert signals(state["SigBlk"]) == set()
    assert signals(state["SigIgn"]) == set()


def test_exit_command_environment(container: Container) -> None:
    """C17: the exit command has the environment that conmon was given, in its order."""
    container.command("exit 0")
    after = container.exit_command()
    assert container.run() == 0
    assert words(after / "environ") == environment(container.given_environment)


def test_exit_delay(container: Container) -> None:
    """C17: --exit-delay N holds the exit command back N seconds, not the exit files."""
    container.command("exit 2")
    after = container.exit_command()
    assert container.run("--exit-delay", "1") == 2
    waited = (after / "recorded").stat().st_mtime_ns - container.exit_file.stat().st_mtime_ns
    assert waited >= 990_000_000


def test_exit_command_after_a_failed_create(container: Container) -> None:
    """C4.19: the exit command runs when the runtime has failed; there are no exit files."""
    container.put("stderr", b"boom")
    container.put("status", "1")
    after = container.exit_command()
    container.launch()
    assert container.report() == {"data": -1, "message": "boom"}
    container.monitor.wait()
    assert (after / "recorded").exists()
    assert not container.exit_file.exists()
    assert not container.persist_exit.exists()
    container.peer_leaves("bundle/attach")


def test_exit_command_of_a_container_that_was_killed(container: Container) -> None:
    """C16, C17: a killed container's end is reported like any other."""
    container.fifo("start")
    container.command("exit 0")
    after = container.exit_command()
    container.launch()
    os.kill(container.started(), signal.SIGKILL)
    assert container.end() == 128 + signal.SIGKILL
    assert (after / "recorded").exists()


def test_sync_mode_with_an_exit_command(container: Container) -> None:
    """C2 --sync, C17: the exit sequence is the same without daemonizing."""
    container.command("exit 11")
    after = container.exit_command()
    container.launch("--sync")
    container.started()
    assert container.parent_status() == 11
    assert container.exit_file.read_bytes() == b"11"
    assert (after / "recorded").exists()
