"""C4.19-21, C20: bad input and failing parts: the caller is told in words, and nothing hangs."""

from __future__ import annotations

import os
import signal

import pytest
from harness import Container
from harness_log import written
from harness_os import TIMEOUT_S, Process
from harness_proc import open_fds


def failed(container: Container) -> str:
    """Read the report of a create that failed: its message. conmon has ended then."""
    report = container.report()
    assert report["data"] == -1
    assert container.message() == b""
    assert container.monitor.wait() == 1
    assert not container.exit_file.exists()
    assert not container.persist_exit.exists()
    container.peer_leaves("bundle/attach")
    return str(report.get("message", ""))


# The runtime


def test_runtime_that_fails(container: Container) -> None:
    """C4.19: its stderr is the message."""
    container.put("stderr", b"no such image\n")
    container.put("status", "125")
    container.launch()
    assert failed(container) == "no such image\n"


def test_runtime_that_dies_by_a_signal(container: Container) -> None:
    """C4.19: death by a signal is a failure like any other."""
    container.put("stderr", b"last words\n")
    container.put("signal", "KILL")
    container.launch()
    assert failed(container) == "last words\n"


@pytest.mark.ours("a pipe that is full blocks the runtime for ever (C20.6)")
@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_runtime_that_fails_with_much_output(container: Container, stream: str) -> None:
    """C20.6: 200 kB of output do not block the runtime: its failure is reported."""
    container.put(f"{stream}-kb", "200")
    container.put("status", "1")
    container.launch()
    message = failed(container)
    assert set(message) == ({"x"} if stream == "stderr" else set())


@pytest.mark.ours("a pipe that is full blocks the runtime for ever (C20.6)")
@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_runtime_that_starts_with_much_output(container: Container, stream: str) -> None:
    """C20.6: 200 kB of output of a runtime that goes well: nothing blocks, all of it is logged."""
    container.put(f"{stream}-kb", "200")
    container.command("exit 3")
    assert container.run() == 3
    assert written(container.log.read_bytes(), stream) == b"x" * 200 * 1024


@pytest.mark.ours("reading the runtime's stderr waits for whoever holds it (C20.6)")
def test_runtime_that_fails_while_a_child_holds_its_stderr(container: Container) -> None:
    """C20.6: a hook's child that keeps stderr open does not hold the report back."""
    container.record()
    container.put("status", "1")
    container.command("exec sleep 1000")
    container.launch()
    pid = int(container.wait_file(container.pidfile))
    child = Process(pid)
    container.on_close(child.close)
    assert container.report() == {"data": -1}
    assert child.alive()
    child.signal(signal.SIGKILL)
    container.monitor.wait()


@pytest.mark.ours("older versions report nothing when there is no stderr")
def test_runtime_that_cannot_be_executed(container: Container) -> None:
    """C4.16, C4.19: a runtime that passes access(2) but not execve(2) is a failure to create."""
    container.options["-r"] = "/tmp"
    container.launch()
    failed(container)


# The pid file


@pytest.mark.ours("older versions report nothing when there is no pid file")
@pytest.mark.parametrize("text", [b"boom\n", b""])
def test_no_pid_file(container: Container, text: bytes) -> None:
    """C4.21: a runtime that succeeds without a pid file has failed: its stderr is the message.

    Without any the message names the file.
    """
    container.put("no-pid-file", "")
    container.put("stderr", text)
    container.launch()
    message = failed(container)
    assert message == text.decode() if text else str(container.pidfile) in message


@pytest.mark.ours("a pid file that is no number is reported as pid 0 (C20.7)")
@pytest.mark.parametrize("content", [b"", b"\n", b"garbage\n", b"0", b"99999999999"])
def test_pid_file_that_is_no_pid(container: Container, content: bytes) -> None:
    """C20.7: an empty pid file, or garbage in it, means: not started. The caller is told.

    Negative numbers are not tried here: a conmon that takes one would signal a process group.
    """
    container.put("pid-file", content)
    container.launch()
    assert failed(container) != ""


@pytest.mark.ours("an empty pid file counts as success (C20.7)")
def test_empty_pid_file_with_words_on_stderr(container: Container) -> None:
    """C20.7: CRI-O makes the pid file beforehand, empty: the runtime's words still arrive."""
    container.pidfile.write_bytes(b"")
    container.put("no-pid-file", "")
    container.put("stderr", b"boom\n")
    container.launch()
    assert failed(container) == "boom\n"


@pytest.mark.ours("it leaves the container")
@pytest.mark.parametrize("lacking", ["no-pid-file", "signal"])
def test_container_that_nobody_hears_of(container: Container, lacking: str) -> None:
    """C21.10: who is told that there is no container has none: what the runtime left is ended.

    A runtime that leaves no pid file, or is killed on its way.
    """
    container.put(lacking, "KILL")
    container.command("exec sleep 1000")
    container.launch()
    failed(container)
    assert container.nothing_runs()


def test_pid_file_with_a_newline(container: Container) -> None:
    """C4.21: a newline behind the pid is no fault."""
    container.put("pid-format", r"%s\n")
    container.command("exit 3")
    assert container.run() == 3
    assert container.pidfile.read_bytes().endswith(b"\n")


# The log, the bundle, conmon's own pid file


@pytest.mark.parametrize("name", ["missing/ctr.log", ""])
def test_log_that_cannot_be_opened(container: Container, name: str) -> None:
    """C3 stage B: a log in a directory that is not there, or that is a directory itself.

    Told on stderr with status 1, and nothing is started.
    """
    container.options["-l"] = f"k8s-file:{container.root}/logs/{name}"
    container.launch()
    assert container.parent_status() == 1
    reason = "No such file or directory" if name else "Is a directory"
    assert container.stderr == f"[conmon:e]: Failed to open log file {reason}\n".encode()
    assert not container.conmon_pidfile.exists()


@pytest.mark.ours("the caller gets no word when the bundle is missing (C20)")
def test_bundle_that_is_not_there(container: Container) -> None:
    """C20: a missing bundle is told to the caller in words: on stderr or on the sync pipe."""
    missing = str(container.root / "missing")
    container.options["-b"] = missing
    container.launch()
    if container.parent_status() == 0:
        assert missing in failed(container)
    else:
        assert missing.encode() in container.stderr
        assert container.message() == b""


def test_bundle_that_is_not_there_ends_conmon(container: Container) -> None:
    """C12.2: without a bundle nothing is started, and conmon ends."""
    container.options["-b"] = str(container.root / "missing")
    container.launch()
    while container.message():
        pass
    container.parent_status()
    assert not container.pidfile.exists()
    assert not container.exit_file.exists()


def test_conmon_pidfile_that_cannot_be_written(container: Container) -> None:
    """C4.7: the intermediate parent says so and exits 1."""
    container.options["--conmon-pidfile"] = str(container.root / "missing" / "conmon.pid")
    container.command("exit 0")
    container.launch()
    assert container.parent_status() == 1
    assert container.stderr.startswith(b"[conmon:e]: Failed to write conmon pidfile: ")


@pytest.mark.ours("a failure to write the conmon pidfile leaves an orphan monitor (C20.20)")
def test_conmon_pidfile_failure_leaves_no_orphan(container: Container) -> None:
    """C20.20: the caller was told of a failure: so no monitor and no container may go on."""
    container.record()
    container.options["--conmon-pidfile"] = str(container.root / "missing" / "conmon.pid")
    container.command("exec sleep 1000")
    container.launch()
    assert container.parent_status() == 1
    while container.message():
        pass
    assert container.nothing_runs(TIMEOUT_S)
    assert not container.pidfile.exists() or not os.path.exists(
        f"/proc/{container.pidfile.read_text()}"
    )


# The sync and start pipes


@pytest.mark.parametrize("value", ["x", "12x", "999"])
def test_sync_pipe_that_is_none(container: Container, value: str) -> None:
    """C4.10: a value that is no fd: no container is started."""
    container.record()
    container.command("exit 0")
    container.launch(override={"_OCI_SYNCPIPE": value})
    container.parent_status()
    assert container.nothing_runs(TIMEOUT_S)
    assert not list(container.seen.iterdir())


@pytest.mark.ours("older versions die of a closed sync pipe, and leave the container alone")
def test_caller_that_does_not_wait_for_the_report(container: Container) -> None:
    """C6.1: the sync pipe may be closed on the other side: the container runs all the same.

    conmon holds its own end no longer: of sockets there is the one for attach clients.
    """
    container.fifo("hang")
    container.fifo("start")
    container.command("echo out; exit 5")
    container.launch()
    container.close_sync()
    container.open_fifo(container.bundle / "hang")
    container.wait_until((container.bundle / "conmon-counters").is_symlink, "the monitor life")
    sockets = [name for name in open_fds(container.monitor.pid).values() if "socket:" in name]
    assert len(sockets) == 1
    container.open_fifo(container.bundle / "start")
    assert container.end() == 5
    assert written(container.log.read_bytes()) == b"out\n"


def test_caller_without_pipes(container: Container) -> None:
    """C4.5, C4.10: without _OCI_ variables there is nobody to report to."""
    container.command("echo out; exit 5")
    container.launch(without=("_OCI_STARTPIPE", "_OCI_SYNCPIPE"))
    assert container.end() == 5
    assert written(container.log.read_bytes()) == b"out\n"
