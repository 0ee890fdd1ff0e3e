"""conmonctl attach."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Container
from harness_fifo import unread
from harness_os import Deadline
from harness_proc import open_fds
from harness_terminal import wait_size, with_terminal

from .person import Person
from .scenes import cid, finish, name, running
from .tool import Tool, read_lines

DETACH = b"\x10\x11"  # ctrl-p ctrl-q
SHELL = "echo ready; while read -r line; do echo got $line; done; exit 6"


def with_stdin(container: Container, command: str) -> None:
    """Start a container that reads its stdin."""
    container.options["-i"] = None
    container.command(command)
    container.launch()
    container.started()


def at_terminal(container: Container, command: str = SHELL) -> None:
    """Start a container that waits for its first client, with a terminal."""
    with_terminal(container, command)
    container.fifo("start")
    container.launch()
    container.started()


def attached(conmonctl: Tool, container: Container, *args: str, **size: int) -> Person:
    """A person who attaches to it; the container goes on once it has this client."""
    before = sockets(container)
    command = [str(conmonctl.path), "attach", *args, name(container)]
    person = Person(command, conmonctl.environment(), **size)
    wait_client(container, before)
    container.open_fifo(container.bundle / "start")
    return person


@pytest.mark.parametrize("peer_too", [False, True], ids=["ours", "C"])
def test_pipes(
    conmonctl: Tool, make: Callable[..., Container], request: pytest.FixtureRequest, peer_too: bool
) -> None:
    """C12: input goes in and ends, both streams come out; the status is the container's."""
    container = make(request.getfixturevalue("peer")) if peer_too else make()
    with_stdin(container, "cat; echo problem >&2; exit 5")
    done = conmonctl("attach", name(container), stdin="hello\n" * 20_000, code=5)
    assert done.out == "hello\n" * 20_000
    assert done.err == "problem\n"
    assert container.end() == 5


def test_killed_container(conmonctl: Tool, container: Container) -> None:
    """A container that dies by a signal has the status that shells give it."""
    pid = running(container)
    before = sockets(container)
    with conmonctl.start("attach", "--no-stdin", name(container)) as process:
        wait_client(container, before)
        os.kill(pid, signal.SIGKILL)
        assert process.wait(timeout=30) == 128 + signal.SIGKILL
    assert container.end() == 128 + signal.SIGKILL


def sockets(container: Container) -> set[str]:
    """The sockets that the monitor has open."""
    return {link for link in open_fds(container.monitor.pid).values() if link.startswith("socket")}


def wait_client(container: Container, before: set[str]) -> None:
    """Wait until the monitor has accepted one. Polled: an accept has no event for others."""
    deadline = Deadline()
    while not sockets(container) - before:
        assert not deadline.passed(), f"no client{container.state()}"
        time.sleep(0.005)


def clients(conmonctl: Tool, container: Container) -> int:
    """How many clients it has now."""
    (line,) = conmonctl("ps", "--json", name(container)).objects
    number: int = line["clients"]
    return number


def test_binary_output(conmonctl: Tool, container: Container) -> None:
    """Every byte of the output arrives, on its own stream."""
    data = os.urandom(300_000)
    container.put("data", data)
    with_stdin(container, "read -r _; cat data; exit 0")
    done = conmonctl("attach", name(container), stdin="go\n")
    assert done.out.encode(errors="surrogateescape") == data
    assert container.end() == 0


def test_long_socket_path(conmonctl: Tool, container: Container) -> None:
    """C12.2: the path of the attach socket may be longer than an address has room for."""
    deep = container.root / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    container.options["--socket-dir-path"] = str(deep)
    del container.options["--full-attach"]
    with_stdin(container, "cat; exit 0")
    assert conmonctl("attach", name(container), stdin="hello\n").out == "hello\n"
    assert container.end() == 0


def test_output_only(conmonctl: Tool, container: Container) -> None:
    """attach --no-stdin leaves the container's input alone."""
    with_stdin(container, "read -r line; echo got $line; exit 0")
    before = sockets(container)
    with conmonctl.start("attach", "--no-stdin", name(container)) as process:
        wait_client(container, before)
        conmonctl("attach", name(container), stdin="hello\n")
        assert read_lines(process, 2) == [b"got hello\n"]
        assert process.wait(timeout=30) == 0
    assert container.end() == 0


def test_terminal(conmonctl: Tool, container: Container) -> None:
    """C13: keys go to the container; its terminal has our size; ours is as it was afterwards."""
    at_terminal(container)
    with attached(conmonctl, container, rows=31, columns=97) as person:
        person.read_until(b"ready\r\n")
        wait_size(container, 31, 97)
        person.type(b"hello\n")
        assert person.read_until(b"got hello\r\n") == b"hello\r\ngot hello\r\n"
        person.resize(40, 120)
        wait_size(container, 40, 120)
        person.type(b"\x04")  # end of file: for the container, not for us
        person.read_until(b"has ended with status 6")
        assert person.end() == 6
        assert person.settings() == person.before
    assert container.end() == 6


def test_detach(conmonctl: Tool, container: Container) -> None:
    """Detach keys leave the container running, and the terminal as it was; status 0."""
    at_terminal(container)
    with attached(conmonctl, container) as person:
        person.read_until(b"ready\r\n")
        person.type(DETACH[:1])
        person.type(b"x\n")  # the first key alone is the container's
        person.read_until(b"got \x10x\r\n")
        person.type(DETACH[:1])
        person.type(DETACH[1:])
        person.read_until(b"detached from " + name(container).encode())
        assert person.end() == 0
        assert person.settings() == person.before
    assert clients(conmonctl, container) == 0
    command = [str(conmonctl.path), "attach", "--detach-keys", "ctrl-x", cid(container)]
    with Person(command, conmonctl.environment()) as person:
        person.type(b"again\n")
        person.read_until(b"got again\r\n")
        person.type(DETACH + b"\n")
        person.read_until(b"got \x10\r\n")  # the other key is the terminal's: go on (stty(1))
        person.type(b"\x18")
        assert person.end() == 0
        assert person.settings() == person.before
    command = [str(conmonctl.path), "attach", name(container)]
    environment = conmonctl.environment(CONMONCTL_DETACH_KEYS="ctrl-y")
    with Person(command, environment) as person:
        person.type(b"once more\n")
        person.read_until(b"got once more\r\n")
        person.type(b"\x19")
        assert person.end() == 0
    conmonctl("attach", name(container), stdin="\x04", code=6)
    assert container.end() == 6


def test_bad_detach_keys(conmonctl: Tool) -> None:
    """attach --detach-keys: what is no key is a fault of the command line."""
    assert "is no key" in conmonctl("attach", "--detach-keys", "ctrl-P", "x", code=2).err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal(conmonctl: Tool, container: Container, number: signal.Signals) -> None:
    """A signal that ends it leaves the terminal as it was, and the container running."""
    at_terminal(container)
    with attached(conmonctl, container) as person:
        person.read_until(b"ready\r\n")
        person.signal(number)
        assert person.end() == -number
        assert person.settings() == person.before
    conmonctl("attach", name(container), stdin="\x04", code=6)
    assert container.end() == 6


def test_interrupt_without_terminal(conmonctl: Tool, container: Container) -> None:
    """Where the container has no terminal ctrl-c ends the session, not the container."""
    running(container, "echo ready")
    before = sockets(container)
    command = [str(conmonctl.path), "attach", name(container)]
    with Person(command, conmonctl.environment()) as person:
        wait_client(container, before)
        person.type(b"\x03")
        assert person.end() == -signal.SIGINT
        assert person.settings() == person.before
    finish(container)


def test_reader_that_goes(conmonctl: Tool, container: Container) -> None:
    """A reader that has enough ends the session; the terminal is as it was."""
    at_terminal(container, "while :; do echo line || exit 7; done")
    command = [str(conmonctl.path), "attach", name(container)]
    before = sockets(container)
    read_end, write_end = os.pipe()
    with Person(command, conmonctl.environment(), stdout=write_end) as person:
        os.close(write_end)
        wait_client(container, before)
        container.open_fifo(container.bundle / "start")
        assert os.read(read_end, 6) == b"line\r\n"
        os.close(read_end)
        assert person.end() == 0
        assert person.settings() == person.before
    os.kill(int(container.pidfile.read_text()), signal.SIGKILL)
    assert container.end() == 128 + signal.SIGKILL


def test_signal_while_nobody_reads(conmonctl: Tool, container: Container) -> None:
    """A signal ends it also while its output is stuck; the terminal is as it was."""
    at_terminal(container, "while :; do echo line; done")
    before = sockets(container)
    command = [str(conmonctl.path), "attach", name(container)]
    read_end, write_end = os.pipe()
    with Person(command, conmonctl.environment(), stdout=write_end) as person:
        os.close(write_end)
        wait_client(container, before)
        container.open_fifo(container.bundle / "start")
        deadline = Deadline()
        # Polled: a full pipe has no event for its reader.
        while unread(read_end) < fcntl.fcntl(read_end, fcntl.F_GETPIPE_SZ) // 2:
            assert not deadline.passed()
            time.sleep(0.005)
        person.signal(signal.SIGTERM)
        assert person.end() == -signal.SIGTERM
        assert person.settings() == person.before
    os.close(read_end)
    os.kill(int(container.pidfile.read_text()), signal.SIGKILL)
    assert container.end() == 128 + signal.SIGKILL


def test_disconnected_by_the_monitor(conmonctl: Tool, container: Container) -> None:
    """A client that the monitor drops says so: the container runs on, and has no status."""
    container.options["--attach-slow-client"] = "drop"
    container.fifo("finish")
    with_stdin(container, "read -r _; head -c 40000000 /dev/zero; echo done >&2; read -r _ <finish")
    with conmonctl.start("attach", name(container), stdin=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdout.read(1)
        # Not read on: our output is full, the socket is, and the monitor has lost patience.
        container.wait_log(b" done\n")
        process.stdout.read()
        assert process.wait(timeout=30) == 1
        assert b"it runs on" in process.stderr.read()
    finish(container)


def test_no_socket(conmonctl: Tool, container: Container) -> None:
    """A monitor without an attach socket is told apart from one that has ended."""
    container.options["-l"] = "passthrough"
    running(container)
    assert "cannot be attached to" in conmonctl("attach", name(container), code=1).err
    finish(container)
    conmonctl("attach", name(container), code=3)


def test_c_conmon_terminal(conmonctl: Tool, make: Callable[..., Container], peer: Path) -> None:
    """C13: a terminal of a C conmon is attached to just so."""
    container = make(peer)
    at_terminal(container)
    with attached(conmonctl, container, rows=31, columns=97) as person:
        person.read_until(b"ready\r\n")
        wait_size(container, 31, 97)
        person.type(DETACH)
        assert person.end() == 0
    conmonctl("attach", name(container), stdin="\x04", code=6)
    assert container.end() == 6
