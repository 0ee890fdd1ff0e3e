"""C9: forms of --log-path, but for journald and passthrough."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from harness import Container
from harness_fifo import FifoReader
from harness_log import lines


def run_with(container: Container, *paths: str, **settings: object) -> None:
    """Run a container that writes one line, with these values of -l."""
    container.options["-l"] = list(paths)
    container.command("echo line")
    assert container.run(**settings) == 0


@pytest.mark.parametrize("form", ["k8s-file:{}", "{}", ":{}"])
def test_file(container: Container, form: str) -> None:
    """C9: `k8s-file:PATH`, `PATH` and `:PATH` are a k8s-file log at PATH."""
    run_with(container, form.format(container.log))
    assert lines(container.log.read_bytes()) == [b"line\n"]


@pytest.mark.parametrize("form", ["none", "null", "off", "none:", "off:x", "null:x"])
def test_none(container: Container, form: str) -> None:
    """C9: none, null and off log nothing, whatever follows the colon."""
    run_with(container, form, cwd=container.root / "logs")
    assert os.listdir(container.root / "logs") == []


def test_relative_path(container: Container) -> None:
    """C9: a relative path is one of the working directory; a known name after `:` is a path."""
    run_with(container, ":journald", cwd=container.root / "logs")
    container.allow("logs/journald")
    assert lines((container.root / "logs" / "journald").read_bytes()) == [b"line\n"]


def test_last_file_wins(container: Container) -> None:
    """C9: of several k8s-file logs the last one is written."""
    run_with(container, str(container.root / "logs" / "first"), f"k8s-file:{container.log}")
    container.peer_leaves("logs/first")
    container.allow("logs/first")
    assert lines(container.log.read_bytes()) == [b"line\n"]


def test_none_beside_a_file(container: Container) -> None:
    """C9: several drivers combine."""
    run_with(container, f"k8s-file:{container.log}", "none")
    assert lines(container.log.read_bytes()) == [b"line\n"]


@pytest.mark.ours("the path is cut at its next colon (C20.19)")
@pytest.mark.parametrize("form", ["k8s-file:{}", ":{}"])
def test_colon_in_the_path(container: Container, form: str) -> None:
    """C20.19: a path may have colons after the driver's."""
    path = container.root / "logs" / "a:b:c"
    container.allow("logs/a:b:c")
    run_with(container, form.format(path))
    assert lines(path.read_bytes()) == [b"line\n"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "log-path must not be empty"),
        (":", "log-path must not be empty"),
        ("k8s-file", "k8s-file requires a filename"),
        ("k8s-file:", "k8s-file requires a filename"),
        ("syslog:x", "No such log driver syslog"),
        ("syslog:", "No such log driver syslog"),
    ],
)
def test_refused(container: Container, path: str, text: str) -> None:
    """C3, C9: what is no log path is refused with these words."""
    container.options["-l"] = [path]
    container.launch()
    assert container.parent_status() == 1
    assert container.stderr == f"[conmon:e]: {text}\n".encode()


def launch_unread(container: Container, *wrapper: str) -> None:
    """A log that is a fifo which nobody reads; returns when conmon says that it waits."""
    os.mkfifo(container.log)
    container.command("echo line")
    container.launch(wrapper=wrapper)
    warning = f"[conmon:w]: Waiting until somebody reads the log {container.log}, a fifo\n".encode()
    assert container.wait_file(container.root / "run" / "stderr") == warning


@pytest.mark.ours("it says nothing")
def test_fifo_without_a_reader(container: Container) -> None:
    """C9: conmon waits for the reader of a fifo, as a C conmon does, and says so."""
    launch_unread(container)
    reader = FifoReader(container.log)
    container.started()
    assert lines(reader.read_all()) == [b"line\n"]
    assert container.end() == 0
    reader.close()


@pytest.mark.ours("it says nothing")
@pytest.mark.parametrize("ignored", [False, True])
def test_fifo_without_a_reader_and_sigterm(container: Container, ignored: bool) -> None:
    """C9, C4.4: SIGTERM ends the wait, also under a caller that ignores it; nothing was started."""
    wrapper = ("sh", "-c", "trap '' TERM; exec \"$@\"", "sh") if ignored else ()
    launch_unread(container, *wrapper)
    container.parent.signal(signal.SIGTERM)
    assert container.parent_status() == 1
    assert container.message() == b""
    assert not container.pidfile.exists()


@pytest.mark.ours("reopening finds /dev/null behind the name")
def test_dev_stdout(container: Container) -> None:
    """C9: a log that is a pipe behind /dev/stdout stays that pipe, whatever is asked for."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    container.options["-l"] = ["/dev/stdout"]
    container.fifo("go")
    container.command("echo first; read -r _ <go; echo second")
    container.launch(stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)
    reader = FifoReader(read)
    container.started()
    reader.read_until(b" F first\n")
    (container.bundle / "ctl").write_bytes(b"2 0 0\n")
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0
    assert lines(reader.read_all()) == [b"first\n", b"second\n"]
    reader.close()
