"""podman attach and start --attach without a terminal."""

import os
import select
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from . import crilog
from .bed import IMAGE
from .client import Gate, Podman
from .wait import until

ECHO = "echo ready; while read line; do echo out $line; echo err $line >&2; done; exit 5"


def knock(gate: Gate, stdout: IO[bytes]) -> bool:
    """Have the container say something; true when ``stdout`` has some of it."""
    gate.open()
    return bool(select.select([stdout], [], [], 0.1)[0])


def test_attach_streams(podman: Podman) -> None:
    """C12.3, C12.4: a client that comes later gets both streams and gives the stdin."""
    name = podman.sh(ECHO, "-i")
    podman.wait_log(name, len)
    with podman.start("attach", name) as client:
        assert client.stdin and client.stdout and client.stderr
        client.stdin.write(b"1\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"out 1\n"
        assert client.stderr.readline() == b"err 1\n"
        # EOF of the client is EOF for the container (C12.5).
        client.stdin.close()
        assert (client.stdout.read().strip(), client.stderr.read()) == (b"", b"")
    assert podman.wait(name) == 5


@pytest.fixture
def talker(podman: Podman, shared: Path, gate: Callable[[], Gate]) -> tuple[str, Gate, Gate]:
    """A container without stdin, a gate for each `go` that it says, and one for its end."""
    one, two = gate(), gate()
    script = (
        f"while read x < /shared/{one.path.name}; do echo $x; done & "
        f"read x < /shared/{two.path.name}; echo last; exit 3"
    )
    return podman.sh(script, "-v", f"{shared}:/shared"), one, two


def test_two_clients(podman: Podman, talker: tuple[str, Gate, Gate]) -> None:
    """C12.3: every client sees the output."""
    name, one, two = talker
    attach = ("attach", "--no-stdin", name)
    with podman.start(*attach) as first, podman.start(*attach) as second:
        assert first.stdout and second.stdout
        # A client says nothing when it has connected: knock until each one hears it.
        for stdout in (first.stdout, second.stdout):
            until(partial(knock, one, stdout), "a client that hears")
        two.open()
        ends = [client.communicate(timeout=30) for client in (first, second)]
    assert podman.wait(name) == 3
    for out, err in ends:
        assert b"last\n" in out and err == b""


def test_client_that_leaves(podman: Podman, talker: tuple[str, Gate, Gate]) -> None:
    """C12.5: when a client leaves the container goes on, and the next client is served."""
    name, one, two = talker
    attach = ("attach", "--no-stdin", name)
    with podman.start(*attach) as client:
        assert client.stdout
        until(partial(knock, one, client.stdout), "a client that hears")
    with podman.start(*attach) as client:
        assert client.stdout
        until(partial(knock, one, client.stdout), "a client that hears")
        two.open()
        out, err = client.communicate(timeout=30)
    assert podman.wait(name) == 3
    assert b"last\n" in out and err == b""


def test_client_that_leaves_with_the_input(podman: Podman) -> None:
    """C12.5: with -i the first client that leaves, also one without input, ends the input."""
    name = podman.sh(ECHO, "-i")
    podman.wait_log(name, len)
    directory = podman.bundle(name)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = os.open(directory, os.O_PATH)
    try:
        client.connect(f"/proc/self/fd/{fd}/attach")
    finally:
        os.close(fd)
        client.close()
    assert podman.wait(name) == 5


def test_start_attach(podman: Podman) -> None:
    """C12: start -ai of a created container sees all of its output."""
    name = podman.name()
    podman("create", "-i", "--name", name, IMAGE, "sh", "-c", ECHO)
    result = podman("start", "--attach", "--interactive", name, stdin=b"x\ny\n", code=5)
    assert result.out == b"ready\nout x\nout y\n"
    assert result.err == b"err x\nerr y\n"


def test_slow_reader_loses_nothing(podman: Podman, shared: Path) -> None:
    """C20.1: output waits for podman's reader; both it and the log get all of it."""
    data = b"".join(b"line %07d\n" % i for i in range(300_000))
    podman.give_file(shared / "data", data)
    log = shared / "ctr.log"
    with podman.start(
        *("run", "--rm", "-v", f"{shared}:/shared", "--log-opt", f"path={log}"),
        *(IMAGE, "cat", "/shared/data"),
    ) as process:
        assert process.stdout
        taken = process.stdout.read(1000)
        # Nothing is read while another container runs from start to end.
        podman("run", "--rm", IMAGE, "true")
        rest, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == b""
    assert taken + rest == data
    assert crilog.joined(crilog.parse(log.read_bytes()), "stdout") == data
