"""C6, C4.10, C4.15, C4.16: exec sessions, as podman (D1) and CRI-O (D2) start them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from harness import Container
from harness_exec import AttachPipe, as_crio_exec, as_podman_exec, launch_crio_exec
from harness_log import written
from harness_os import Deadline, descendants
from harness_proc import settled, words
from harness_rooms import CID, STANDIN

FLOOD = b"".join(b"line %09d\n" % i for i in range(350_000))  # 5 MB


def wait_for_second_read(container: Container) -> None:
    """Wait until conmon, and whoever it has started, has nothing to do before the second go."""
    settled(container.monitor.pid)
    for row in descendants():
        if row.ppid == container.monitor.pid:
            settled(row.pid)


def test_session_of_podman(container: Container) -> None:
    """C6.3, C4.15, C4.16: ready, then attached, then started, then the exit code.

    The attach pipe gets its message when attach socket and ctl are there and ctl has a reader.
    The runtime is not executed before the second go.
    """
    as_podman_exec(container)
    container.record()
    container.fifo("start")
    container.command("exit 7")
    pipe = AttachPipe(container)
    pipe.launch(container)
    assert pipe.message() == b'{"data": 0}\n'
    os.close(os.open(container.bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK))
    client = container.attach(accepted=False)
    wait_for_second_read(container)
    assert not list(container.seen.iterdir()), "the runtime has been started"
    assert not container.sync_ready()
    container.go()
    assert container.message() == b'{"data": %s}\n' % container.wait_file(container.pidfile)
    assert not container.sync_ready()
    container.open_fifo(container.bundle / "start")
    assert container.message() == b'{"data": 7}\n'
    assert container.exit_file.read_bytes() == container.persist_exit.read_bytes() == b"7"
    assert container.end() == 7
    assert container.message() == b""
    assert client.read_all() == b""


@pytest.mark.ours("it ends in silence")
def test_signal_before_the_second_go(container: Container) -> None:
    """C4.16, C16.1: told to end while the caller attaches, it says so and starts no session."""
    as_podman_exec(container)
    container.record()
    pipe = AttachPipe(container)
    pipe.launch(container)
    assert pipe.message() == b'{"data": 0}\n'
    wait_for_second_read(container)
    os.kill(container.monitor.pid, signal.SIGTERM)
    assert container.message() == (
        b'{"data": -1, "message": "Ended by signal 15 before the container was created"}\n'
    )
    assert container.message() == b""
    assert not list(container.seen.iterdir()), "the runtime has been started"
    assert not (container.bundle / "attach").exists()


@pytest.mark.ours("a client that never comes is not covered by --timeout")
def test_timeout_before_the_second_go(container: Container) -> None:
    """C4.16: the session's time runs while its caller attaches, too."""
    as_podman_exec(container)
    container.options["-T"] = "1"
    container.record()
    pipe = AttachPipe(container)
    pipe.launch(container)
    assert pipe.message() == b'{"data": 0}\n'
    assert container.message() == b'{"data": -1, "message": "command timed out"}\n'
    assert container.message() == b""
    assert not list(container.seen.iterdir()), "the runtime has been started"


def test_second_go_by_end_of_file(container: Container) -> None:
    """C4.16: a caller that has gone holds up no session."""
    as_podman_exec(container)
    container.command("exit 3")
    pipe = AttachPipe(container)
    pipe.launch(container)
    assert pipe.message() == b'{"data": 0}\n'
    container.close_start()
    container.started()
    assert container.end() == 3


def test_attached_client_gets_everything(container: Container) -> None:
    """C4.16: who attached between ready and go gets the session's output from its first byte."""
    as_podman_exec(container)
    container.command("echo out; echo err >&2; exit 4")
    pipe = AttachPipe(container)
    pipe.launch(container)
    pipe.message()
    client = container.attach(accepted=False)
    container.go()
    container.started()
    assert client.read_all() == b"out\n"
    assert client.stream(3) == b"err\n"
    assert container.end() == 4


def test_stdin(container: Container) -> None:
    """C12.4: input that a client sent before the session began, and its end, reach the session."""
    as_podman_exec(container)
    container.command("cat")
    pipe = AttachPipe(container)
    pipe.launch(container, "-i")
    pipe.message()
    client = container.attach(accepted=False)
    client.send(b"before\n")
    container.go()
    container.started()
    client.send(b"after\n")
    client.end_input()
    assert client.read_all() == b"before\nafter\n"
    assert container.end() == 0


def test_output_before_the_runtime_has_ended(container: Container) -> None:
    """C12.7, C9: a process that is faster than its runtime loses nothing: 5 MB, log and client."""
    as_podman_exec(container)
    container.options["-r"] = str(STANDIN / "terminal")
    container.options["-l"] = f"k8s-file:{container.log}"
    container.put("data", FLOOD)
    container.fifo("late")
    container.command("cat data; echo done >written; exit 5")
    container.allow("bundle/written")
    pipe = AttachPipe(container)
    pipe.launch(container)
    pipe.message()
    client = container.attach(accepted=False)
    container.go()
    container.wait_file(container.pidfile)
    container.open_fifo(container.bundle / "late")
    container.started()
    assert client.read_all() == FLOOD
    assert container.end() == 5
    assert written(container.log.read_bytes()) == FLOOD


@pytest.mark.ours("it reads nothing before the runtime has ended")
def test_short_session_that_ends_before_its_runtime(container: Container) -> None:
    """C16, C12.7: a process that writes 200 kB and ends before its runtime: code and output."""
    as_podman_exec(container)
    container.options["-r"] = str(STANDIN / "terminal")
    container.options["-l"] = f"k8s-file:{container.log}"
    container.put("data", FLOOD[:200_000])
    container.fifo("late")
    container.command("cat data; echo done >written; exit 5")
    container.allow("bundle/written")
    container.launch()
    container.wait_file(container.bundle / "written")
    container.open_fifo(container.bundle / "late")
    container.started()
    assert container.end() == 5
    assert written(container.log.read_bytes()) == FLOOD[:200_000]


def test_runtime_failed(container: Container) -> None:
    """C6.3, C4.21, C21.7: no pid file: -1 and the runtime's stderr, and no exit files."""
    as_podman_exec(container)
    container.put("stderr", b"exec failed: no such file or directory\n")
    container.put("status", "1")
    container.launch()
    assert container.report() == {
        "data": -1,
        "message": "exec failed: no such file or directory\n",
    }
    assert container.message() == b""
    assert container.parent_status() == 0
    assert not container.exit_file.exists()
    container.peer_leaves("bundle/attach")


@pytest.mark.ours("older versions go by the runtime's exit status")
def test_runtime_that_fails_after_the_start(container: Container) -> None:
    """C4.19, C6.3: with a pid in the pid file the session was started, whatever the runtime says.

    Its exit code is the process's, not the runtime's.
    """
    as_podman_exec(container)
    container.fifo("start")
    container.command("exit 9")
    container.put("stderr", b"a late warning\n")
    container.put("status", "1")
    container.launch()
    container.started()
    container.open_fifo(container.bundle / "start")
    assert container.message() == b'{"data": 9}\n'
    assert container.end() == 9


@pytest.mark.ours("older versions report nothing when there is no stderr")
def test_runtime_killed(container: Container) -> None:
    """C6.3: a runtime that dies by a signal without a word is told from a session, too."""
    as_podman_exec(container)
    container.put("signal", "KILL")
    container.launch()
    report = container.report()
    assert report["data"] == -1
    assert container.message() == b""
    container.peer_leaves("bundle/attach")


@pytest.mark.ours("more than a pipe holds blocks runtime and conmon for ever (C20.6)")
def test_runtime_with_much_to_say(container: Container) -> None:
    """C20.6: a runtime that fails with 3 MB on stderr does not stand still; -1 is reported."""
    as_podman_exec(container)
    container.put("stderr-kb", "3000")
    container.put("status", "1")
    container.launch()
    report = container.report()
    assert report["data"] == -1
    assert str(report["message"]).startswith("xxxx")
    assert container.message() == b""


@pytest.mark.ours("more than a pipe holds blocks runtime and conmon for ever (C20.6)")
def test_runtime_with_much_to_say_after_the_start(container: Container) -> None:
    """C20.6: the same once the session is there: 3 MB after the pid file hold up neither of both.

    What comes through the session's own streams goes where its output goes, and all of it.
    """
    as_podman_exec(container)
    container.options["-r"] = str(STANDIN / "terminal")
    container.options["-l"] = f"k8s-file:{container.log}"
    container.put("stderr", b"z" * 3_000_000)
    container.fifo("start")
    container.command("exit 5")
    container.launch()
    container.started()
    container.wait_log_count(b"z", 3_000_000)
    container.open_fifo(container.bundle / "start")
    assert container.message() == b'{"data": 5}\n'
    assert container.end() == 5


@pytest.mark.ours("it reads nothing before the runtime has ended")
def test_session_with_much_to_say_before_its_runtime_has_ended(container: Container) -> None:
    """C12.7: a session that writes much need not wait for the end of its runtime; nor to end."""
    as_podman_exec(container)
    container.options["-r"] = str(STANDIN / "terminal")
    container.options["-l"] = f"k8s-file:{container.log}"
    container.put("data", FLOOD)
    container.fifo("late")
    container.command("cat data; exit 5")
    container.launch()
    container.started()
    assert container.message() == b'{"data": 5}\n'
    assert written(container.log.read_bytes()) == FLOOD
    container.end()


def test_attach_without_a_pipe(container: Container) -> None:
    """C4.10: --exec-attach wants _OCI_ATTACHPIPE."""
    as_podman_exec(container)
    container.record()
    container.command("exit 0")
    container.launch("--exec-attach", "--sync")
    assert container.parent_status() == 1
    assert b"[conmon:e]: --attach specified but _OCI_ATTACHPIPE was not" in container.stderr
    assert not list(container.seen.iterdir())


def test_runtime_argv(container: Container) -> None:
    """C5: `exec --pid-file PF --process SPEC --detach`, the caller's options, the id."""
    as_podman_exec(container)
    container.record()
    container.command("exit 0")
    options = ["--runtime-arg", "--log=x", "--runtime-opt", "--preserve-fds", "--runtime-opt", "1"]
    assert container.run("-s", *options) == 0
    spec = container.bundle / "process.json"
    expected = f"--log=x exec --pid-file {container.pidfile} --process {spec} --detach"
    argv = words(container.seen / "runtime.argv")
    assert argv == [*expected.encode().split(), b"--preserve-fds", b"1", CID.encode()]


def test_exit_command(container: Container) -> None:
    """D1, C17: a session has an exit command too, after its exit files."""
    as_podman_exec(container)
    after = container.exit_command("cleanup", "--exec", "session")
    container.command("exit 6")
    assert container.run("--exit-delay", "0") == 6
    assert words(after / "argv")[1:] == [b"cleanup", b"--exec", b"session"]
    seen = (after / "files").read_text()
    assert f"\n{CID}\n" in seen
    assert "exit\n" in seen


def test_exit_delay(container: Container) -> None:
    """C17: the exit command waits for --exit-delay; exit files and report do not.

    podman keeps a session's files for 300 s in this way.
    """
    as_podman_exec(container)
    after = container.exit_command()
    container.command("exit 6")
    container.launch("--exit-delay", "600")
    container.started()
    monitor = container.monitor
    assert container.message() == b'{"data": 6}\n'
    assert container.wait_exit_file() == b"6"
    assert container.message() == b""
    assert not (after / "recorded").exists()
    for row in reversed(descendants()):  # conmon, and with C conmon its child that sleeps
        os.kill(row.pid, 9)
    monitor.wait()
    assert not (after / "recorded").exists()


def test_crio(container: Container) -> None:
    """D2, C6.3: api 0 says nothing but the exit code; the output is in the log."""
    as_crio_exec(container)
    container.command("echo out; echo err >&2; exit 7")
    launch_crio_exec(container)
    assert container.message() == b'{"exit_code": 7}\n'
    assert container.message() == b""
    assert container.parent_status() == 7
    log = container.log.read_bytes()
    assert written(log) == b"out\n"
    assert written(log, "stderr") == b"err\n"


def test_crio_has_no_channels(container: Container) -> None:
    """D2, C4.15: without a bundle there is no attach socket, no fifo, no symlink, nowhere."""
    as_crio_exec(container)
    container.fifo("start")
    container.command("exit 0")
    launch_crio_exec(container, cwd=container.root / "tmp")
    container.wait_file(container.pidfile)
    container.wait_name(container.log)
    given = {"process.json", "command", "gate", "start"}
    assert {path.name for path in container.bundle.iterdir()} == given
    assert not list((container.root / "tmp").iterdir())
    assert not list((container.root / "sockets").iterdir())
    container.open_fifo(container.bundle / "start")
    assert container.message() == b'{"exit_code": 0}\n'
    assert container.parent_status() == 0


@pytest.mark.ours("the empty pid file counts as a start: the message is lost (C20.7)")
@pytest.mark.parametrize("content", [b"", b"\n", b"no pid\n", b"0", b"-5"])
def test_crio_runtime_failed(container: Container, content: bytes) -> None:
    """C20.7: a pid file without a pid, CRI-O's own empty one or another, is no start."""
    as_crio_exec(container)
    container.pidfile.write_bytes(content)
    container.put("stderr", b"exec failed: boom\n")
    container.put("status", "255")
    launch_crio_exec(container)
    assert container.report() == {"exit_code": -1, "message": "exec failed: boom\n"}
    assert container.message() == b""
    assert container.parent_status() == 1


def test_crio_timeout(container: Container) -> None:
    """C6.3: a session that takes too long is killed: -1 and exactly this text."""
    as_crio_exec(container)
    container.command("echo begun; : >begun; sleep 1000")
    container.allow("bundle/begun")
    launch_crio_exec(container, "-T", "3")
    assert container.report() == {"exit_code": -1, "message": "command timed out"}
    assert container.message() == b""
    assert container.parent_status() == 255
    # On a slow machine the time may be over before the session has said anything.
    said = (container.bundle / "begun").exists()
    assert written(container.log.read_bytes()) in ([b"begun\n"] if said else [b"", b"begun\n"])


@pytest.mark.ours("a runtime that hangs is not covered by --timeout (C20.6)")
def test_crio_timeout_of_the_runtime(container: Container) -> None:
    """C20.6: a runtime that hangs is ended by --timeout as well."""
    as_crio_exec(container)
    container.fifo("hang")
    launch_crio_exec(container, "-T", "1")
    assert container.report() == {"exit_code": -1, "message": "command timed out"}
    assert container.message() == b""
    assert container.parent_status() != 0


@pytest.mark.ours("the time of the runtime does not count (C20.6)")
def test_timeout_of_runtime_and_session(container: Container) -> None:
    """C20.6: --timeout is one for both: what the runtime has used the session does not get."""
    as_podman_exec(container)
    container.options["-r"] = str(STANDIN / "terminal")
    container.fifo("late")
    container.fifo("start")
    container.command("exit 5")
    container.launch("-T", "1000")
    container.wait_file(container.pidfile)
    time.sleep(0.5)  # the time that the runtime uses at least
    container.open_fifo(container.bundle / "late")
    container.started()
    assert 0 < time_left(container) <= 999.5
    container.open_fifo(container.bundle / "start")
    assert container.end() == 5


def time_left(container: Container) -> float:
    """Seconds that the monitor's loop sleeps at most: epoll_wait's fourth argument."""
    syscall = Path(f"/proc/{container.monitor.pid}/syscall")
    deadline = Deadline()
    while not deadline.passed():
        words = syscall.read_text().split()
        left = int(words[4], 16) & 0xFFFFFFFF if len(words) > 4 else 0
        if 1000 < left < 1 << 31:  # a shorter one is that of a loop that is not idle yet
            return left / 1000
        time.sleep(0.002)  # polled: going to sleep is no event
    raise AssertionError("the monitor sets no timer")


def test_crio_global_size_limit(container: Container) -> None:
    """D2, C10: logging stops at 16 MiB; the session goes on to its end.

    At most one record goes beyond the limit.
    """
    as_crio_exec(container)
    container.command("head -c 17000000 /dev/zero | tr '\\0' x | fold -w 1000; exit 8")
    launch_crio_exec(container)
    assert container.message() == b'{"exit_code": 8}\n'
    size = len(container.log.read_bytes())
    assert 16777216 - 16384 < size <= 16777216 + 16384
    assert container.parent_status() == 8
