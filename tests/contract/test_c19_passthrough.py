"""C19: the passthrough log driver: the container has the caller's stdio."""

from __future__ import annotations

import os
import signal

import pytest
from harness import Container
from harness_exec import as_crio_exec, launch_crio_exec
from harness_os import Deadline, Process, wait_fd
from harness_proc import listed_fds, open_fds

CHANNELS = {"bundle/attach", "bundle/ctl", "bundle/winsz"}


def read_end(fd: int) -> bytes:
    """Everything up to end of file: until nobody holds the other end any more."""
    data = b""
    while True:
        assert wait_fd(fd, Deadline()), "somebody holds the caller's stdio"
        part = os.read(fd, 65536)
        if not part:
            os.close(fd)
            return data
        data += part


def test_stdout_and_stderr(container: Container) -> None:
    """C19: the container writes to the caller's stdout and stderr; no channels are made.

    conmon itself drops them all the same: end of file comes with the container's end.
    """
    container.options["-l"] = "passthrough"
    (out, out_write), (err, err_write) = os.pipe(), os.pipe()
    container.fifo("start")
    container.command("echo straight; echo wrong >&2; exit 3")
    container.launch(stdout=out_write, stderr=err_write)
    os.close(out_write)
    os.close(err_write)
    container.started()
    assert [open_fds(container.monitor.pid)[fd] for fd in range(3)] == [os.devnull] * 3
    container.open_fifo(container.bundle / "start")
    assert read_end(out) == b"straight\n"
    assert read_end(err) == b"wrong\n"
    assert container.end() == 3
    assert not CHANNELS & container.files()


def test_stdin(container: Container) -> None:
    """C19: the container reads the caller's stdin, with -i or without."""
    container.options["-l"] = "passthrough"
    (stdin, stdin_write), (out, out_write) = os.pipe(), os.pipe()
    container.command("exec cat")
    container.launch(stdin=stdin, stdout=out_write)
    os.close(stdin)
    os.close(out_write)
    os.write(stdin_write, b"from the caller\n")
    container.started()
    os.close(stdin_write)
    assert read_end(out) == b"from the caller\n"
    assert container.end() == 0


def test_runtime_has_the_very_fds(container: Container) -> None:
    """C19: no pipe is between: file, socket or terminal, the container sees what the caller has."""
    container.record()
    container.options["-l"] = "passthrough"
    container.command("exit 0")
    assert container.run() == 0
    fds = listed_fds(container.seen / "runtime.fds")
    run = container.root / "run"
    assert fds == {0: os.devnull, 1: str(run / "stdout"), 2: str(run / "stderr")}


@pytest.mark.ours("older versions report nothing when there is no stderr")
def test_failure(container: Container) -> None:
    """C19: the runtime's stderr is not captured: the report of a failure has no message."""
    container.options["-l"] = "passthrough"
    container.put("stderr", b"boom\n")
    container.put("status", "1")
    container.launch()
    assert container.message() == b'{"data": -1}\n'
    assert container.message() == b""
    assert container.stderr == b"boom\n"
    assert container.nothing_runs()


def test_beside_a_file(container: Container) -> None:
    """C9, C19: together with a k8s-file log there is nothing to be logged."""
    container.options["-l"] = ["passthrough", f"k8s-file:{container.log}"]
    container.command("echo straight")
    assert container.run() == 0
    assert container.stdout == b"straight\n"
    assert container.log.read_bytes() == b""
    assert not CHANNELS & container.files()


def test_much(container: Container) -> None:
    """C19: conmon is not in the way of 50 MB."""
    container.options["-l"] = "passthrough"
    container.command("head -c 50000000 /dev/zero")
    assert container.run() == 0
    assert len(container.stdout) == 50_000_000


def test_exit_command(container: Container) -> None:
    """C17, C19: the exit command has /dev/null as stdio, not the caller's."""
    container.options["-l"] = "passthrough"
    after = container.exit_command()
    container.command("exit 2")
    assert container.run() == 2
    fds = listed_fds(after / "fds")
    assert [fds[fd] for fd in range(3)] == [os.devnull] * 3


def test_exec_session(container: Container) -> None:
    """C19: a session passes its stdio through, too."""
    as_crio_exec(container)
    container.options["-l"] = "passthrough"
    container.command("echo straight; exit 4")
    launch_crio_exec(container)
    assert container.message() == b'{"exit_code": 4}\n'
    assert container.parent_status() == 4
    assert container.stdout == b"straight\n"


def test_kill(container: Container) -> None:
    """C19, C16: signals and deaths are handled as ever."""
    container.options["-l"] = "passthrough"
    container.command("exec sleep 1000")
    container.launch()
    container.started()
    container.monitor.signal(signal.SIGTERM)
    assert container.end() == 143


def test_preserved_fds(container: Container) -> None:
    """C4.16, C17.6, D1: the caller's fds reach the container; conmon holds none at the exit files.

    So a published port is free as soon as the exit can be seen.
    """
    read, write = os.pipe()
    container.fifo("start")
    container.command(f"echo through >/proc/self/fd/{write}; exit 0")
    container.launch("--runtime-opt", "--preserve-fds", "--runtime-opt", "5", pass_fds=[write])
    os.close(write)
    pid = container.started()
    assert write in open_fds(pid)
    process = Process(container.monitor.pid)
    container.open_fifo(container.bundle / "start")
    container.wait_exit_file()
    assert read_end(read) == b"through\n"
    process.wait_gone()
    process.close()
    assert container.end() == 0


def test_preserved_fds_are_free_at_the_exit_files(container: Container) -> None:
    """C17.6: with the exit file there, nobody holds the fd; the exit command is still at work."""
    read, write = os.pipe()
    after = container.exit_command()
    os.mkfifo(after / "hang")
    container.command("exit 0")
    container.launch(pass_fds=[write])
    os.close(write)
    container.started()
    container.wait_exit_file()
    assert read_end(read) == b""
    assert container.monitor.alive()
    container.wait_name(after / "recorded")
    container.open_fifo(after / "hang")
    assert container.end() == 0


@pytest.mark.parametrize("flag", [True, False])
def test_listen_fds(container: Container, flag: bool) -> None:
    """C4.16: LISTEN_PID becomes the runtime's with --replace-listen-pid; LISTEN_FDS stays."""
    container.record()
    container.command("exit 0")
    read, write = os.pipe()
    extra = ["--replace-listen-pid"] if flag else []
    environment = {"LISTEN_PID": "2", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
    assert container.run(*extra, environment=environment, pass_fds=[read]) == 0
    os.close(read)
    os.close(write)
    runtime = (container.seen / "runtime.pid").read_bytes()
    seen = (container.seen / "runtime.environ").read_bytes().split(b"\0")
    assert b"LISTEN_PID=" + (runtime if flag else b"2") in seen
    assert b"LISTEN_FDS=1" in seen
    assert b"LISTEN_FDNAMES=x" in seen
    assert read in listed_fds(container.seen / "runtime.fds")


def test_listen_pid_of_conmon_itself(container: Container) -> None:
    """C4.16: LISTEN_PID that names conmon, as systemd sets it, names the runtime then."""
    container.record()
    container.command("exit 0")
    wrapper = ["/bin/sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh"]
    container.launch("--sync", environment={"LISTEN_FDS": "1"}, wrapper=wrapper)
    container.started()
    assert container.wait_exit_file() == b"0"
    assert container.parent_status() == 0
    runtime = (container.seen / "runtime.pid").read_bytes()
    seen = (container.seen / "runtime.environ").read_bytes().split(b"\0")
    assert b"LISTEN_PID=" + runtime in seen


@pytest.mark.parametrize("value", ["0", "-1", "x"])
def test_invalid_listen_pid(container: Container, value: str) -> None:
    """C4.16: a LISTEN_PID that is no pid is refused, and no runtime is started."""
    container.record()
    container.command("exit 0")
    container.launch("--sync", environment={"LISTEN_PID": value, "LISTEN_FDS": "1"})
    assert container.report()["data"] == -1
    assert container.message() == b""
    assert container.parent_status() == 1
    assert not list(container.seen.iterdir())
    container.peer_leaves("bundle/attach")
