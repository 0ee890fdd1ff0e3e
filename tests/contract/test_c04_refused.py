"""C4.5, C6, C20.17: a launch that is refused: whoever can hear the reason is told it, in order."""

from __future__ import annotations

import os
import socket

import pytest
from harness import Container, Pipes
from harness_exec import AttachPipe, as_podman_exec
from harness_os import Deadline, wait_fd
from harness_proc import signals

pytestmark = pytest.mark.ours("it tells stderr only, before the caller has written its byte")


def reason(container: Container) -> str:
    """What is said on stderr, without the prefix; waits for it."""
    text = container.wait_file(container.root / "run" / "stderr").decode()
    assert text.endswith("\n")
    return text.removeprefix("[conmon:e]: ").removeprefix("conmon: ").rstrip("\n")


def set_up(container: Container, case: str) -> None:
    """Options with one fault."""
    options = container.options
    if case == "log":
        options["-l"] = str(container.root / "missing" / "ctr.log")
    elif case == "label":
        options["--log-label"] = "A=1"
    elif case == "journald":
        options |= {"-l": "journald", "-c": "short"}
    elif case == "cid":
        del options["-c"]
    elif case == "runtime":
        options["-r"] = "/no/such/runtime"
    elif case == "delay":
        options["--exit-delay"] = "-1"
    else:
        options["--bogus"] = None


CASES = ["log", "label", "journald", "cid", "runtime", "delay", "bogus"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pipes", Pipes)
@pytest.mark.parametrize("closes", [False, True], ids=["byte", "end of file"])
def test_go_comes_first(container: Container, case: str, pipes: Pipes, closes: bool) -> None:
    """C4.5: the start byte is taken, so the caller can write it; then the reason is told."""
    container.as_crio()
    set_up(container, case)
    container.allow("logs/ctr.log")
    container.launch(pipes=pipes, go=False)
    text = reason(container)
    assert container.parent.alive()
    assert not container.sync_ready()
    if closes:
        container.close_start()
    else:
        container.go()
    assert container.report() == {"pid": -1, "message": text}
    assert container.message() == b""
    assert container.parent_status() == 1


@pytest.mark.parametrize("case", CASES)
def test_without_pipes(container: Container, case: str) -> None:
    """C1.4, C3: who calls by hand is told at once."""
    set_up(container, case)
    container.allow("logs/ctr.log")
    container.launch(go=False, without=("_OCI_STARTPIPE", "_OCI_SYNCPIPE"))
    assert container.parent_status() == 1
    assert reason(container)


def test_conmon_pidfile(container: Container) -> None:
    """C4.7, C20.20: a pid file that cannot be written is told on the sync pipe, too."""
    container.options["--conmon-pidfile"] = str(container.root / "missing" / "conmon.pid")
    container.launch()
    assert container.report() == {"data": -1, "message": reason(container)}
    assert container.message() == b""
    assert container.parent_status() == 1
    assert container.nothing_runs()


def test_notify_socket_that_cannot_be_made(container: Container) -> None:
    """C14: that there is no directory for the notify socket is told on the sync pipe."""
    container.put("notify", "no directory")
    container.allow("bundle/notify")
    container.launch("--sdnotify-socket", "@nobody")
    report = container.report()
    assert report["data"] == -1
    assert "notify socket" in str(report["message"])
    assert container.message() == b""
    assert container.nothing_runs()


# What the variables name


@pytest.mark.parametrize("name", ["_OCI_SYNCPIPE", "_OCI_STARTPIPE"])
@pytest.mark.parametrize("value", ["x", "999"])
def test_variable_that_names_nothing(container: Container, name: str, value: str) -> None:
    """C4.10: the process that was started says so, and its status is 1."""
    container.launch(override={name: value})
    assert container.parent_status() == 1
    assert name in reason(container)
    assert not container.conmon_pidfile.exists()


@pytest.mark.parametrize("name", ["_OCI_SYNCPIPE", "_OCI_STARTPIPE"])
def test_variable_that_was_left_over(container: Container, name: str) -> None:
    """C4.10: the number of an fd that is no pipe, or socket, is none: the file is left alone."""
    path = container.root / "tmp" / "file"
    path.write_bytes(b"mine")
    container.allow("tmp/file")
    container.command("exit 4")
    with open(path, "rb+") as file:
        container.launch(override={name: str(file.fileno())}, pass_fds=[file.fileno()])
        assert container.end() == 4
        assert file.tell() == 0
    assert path.read_bytes() == b"mine"
    assert name.encode() in container.stderr


def test_variable_that_names_a_later_fd(container: Container) -> None:
    """C4.10: nor is it that of a file that conmon opens itself, the log."""
    for fd in range(3, 10):
        container.launch(override={"_OCI_SYNCPIPE": str(fd)})
        if container.parent_status() == 0:
            container.end()
        assert b"{" not in (container.log.read_bytes() if container.log.exists() else b"")
        container.close_sync()
        container.close_start()
        for path in (container.exit_file, container.persist_exit, container.conmon_pidfile):
            path.unlink(missing_ok=True)


def test_attach_pipe_that_was_left_over(container: Container) -> None:
    """C4.10: without an attach pipe there is no session to attach to."""
    as_podman_exec(container)
    path = container.root / "tmp" / "file"
    path.write_bytes(b"")
    container.allow("tmp/file")
    with open(path, "rb+") as file:
        number = str(file.fileno())
        container.launch(
            "--exec-attach", override={"_OCI_ATTACHPIPE": number}, pass_fds=[file.fileno()]
        )
        report = container.report()
    assert "_OCI_ATTACHPIPE" in str(report["message"])
    assert path.read_bytes() == b""


# Limits of the caller


def limited(*limits: str) -> list[str]:
    """Words before a command that has these limits."""
    return ["prlimit", *limits, "--"]


@pytest.mark.parametrize("size", [0, 1])  # a pid has more digits
def test_file_size_limit(container: Container, size: int) -> None:
    """C20.17: a file that must not grow is told in words; SIGXFSZ would end conmon in silence."""
    ours, theirs = socket.socketpair()
    container.launch(wrapper=limited(f"--fsize={size}"), stderr=theirs.fileno())
    theirs.close()
    report = container.report()
    assert report["data"] == -1
    assert str(report["message"]).endswith("File too large")
    assert container.parent_status() == 1
    assert container.nothing_runs()
    assert wait_fd(ours.fileno(), Deadline())
    assert b"File too large\n" in ours.recv(4096)
    ours.close()


def test_runtime_has_the_default_of_sigxfsz(container: Container) -> None:
    """C20.18: SIGXFSZ, which conmon ignores from its start, is as usual in what it starts."""
    container.record()
    container.command("exit 0")
    assert container.run() == 0
    text = (container.seen / "runtime.status").read_text()
    (mask,) = (line.split()[1] for line in text.splitlines() if line.startswith("SigIgn"))
    assert "SIGXFSZ" not in signals(mask)


def test_nothing_is_left(container: Container) -> None:
    """C20.17: of a session that is refused late nothing stays in bundle, socket and TMPDIR."""
    as_podman_exec(container)
    container.options["-t"] = None
    container.environment["LISTEN_PID"] = "none"
    (container.bundle / "notify").mkdir()
    pipe = AttachPipe(container)
    pipe.launch(container, "--sdnotify-socket", "@nobody")
    report = container.report()
    assert report["data"] == -1
    assert "LISTEN_PID" in str(report["message"])
    assert pipe.message() == b"", "who has read that all is ready looks for no refusal"
    assert container.nothing_runs()
    assert not (container.bundle / "attach").exists()
    assert os.listdir(container.bundle / "notify") == []
    assert os.listdir(container.root / "tmp") == []
