"""Bursts of output: the pipe has more room meanwhile, and what nobody wants is not read."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable

import pytest
from harness import Container
from harness_attach import AttachClient
from harness_counters import wait_counters
from harness_fifo import unread
from harness_log import written
from harness_os import Deadline

pytestmark = pytest.mark.ours("the C conmon's pipes always hold 64 KiB")
# of 16 pages
pipes_of_64_kib = pytest.mark.skipif(
    os.sysconf("SC_PAGESIZE") > 4096, reason="pages are larger, and a pipe holds 256 KiB at least"
)

PIPE = 64 << 10
WIDE = 256 << 10
# More than the client's socket, its queue (1 MiB) and the wide pipe take together.
FLOOD = b"".join(b"line %09d\n" % i for i in range(200_000))
# A container process that gives its stdout room for itself.
RESIZE = f'python3 -IS -c "import fcntl; fcntl.fcntl(1, {fcntl.F_SETPIPE_SZ}, %d)"'


def launch(container: Container, command: str) -> AttachClient:
    """A container that waits at its start, and a client that holds it back until it reads."""
    container.put("data", FLOOD)
    container.fifo("start")
    container.fifo("go")
    container.command(command)
    container.launch("--attach-slow-client", "block")
    container.started()
    return container.attach()


def stdout_of(container: Container) -> int:
    """The pipe that is the container's stdout, at its writing end."""
    pid = int(container.pidfile.read_text())
    return os.open(f"/proc/{pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK)


def room(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)


def wait_pipe(condition: Callable[[], bool], what: str) -> None:
    """Polled: nothing tells of a change of a pipe."""
    deadline = Deadline()
    while not condition():
        assert not deadline.passed(), what
        time.sleep(0.005)


def start(container: Container) -> None:
    container.open_fifo(container.bundle / "start")


def end(container: Container) -> None:
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


@pipes_of_64_kib
def test_room_for_a_burst(container: Container) -> None:
    """A container that writes faster than is read has 256 KiB before it must wait; all arrives."""
    client = launch(container, "cat data; echo done; read -r _ <go")
    stdout = stdout_of(container)
    assert room(stdout) == PIPE
    start(container)
    wait_pipe(lambda: unread(stdout) > WIDE - os.sysconf("SC_PAGESIZE"), "a full pipe")
    assert room(stdout) == WIDE
    client.read_until(b"done\n")
    wait_pipe(lambda: room(stdout) == PIPE, "the pipe as it was")
    os.close(stdout)
    end(container)
    assert written(container.log.read_bytes()) == FLOOD + b"done\n"


@pipes_of_64_kib
def test_a_second_burst(container: Container) -> None:
    """The room comes back for every burst, and goes after it."""
    client = launch(
        container, "cat data; echo one; read -r _ <start; cat data; echo two; read -r _ <go"
    )
    stdout = stdout_of(container)
    start(container)
    for word in (b"one\n", b"two\n"):
        wait_pipe(lambda: room(stdout) == WIDE, "a wide pipe")
        client.read_until(word)
        wait_pipe(lambda: room(stdout) == PIPE, "the pipe as it was")
        if word == b"one\n":
            start(container)
    os.close(stdout)
    end(container)


@pipes_of_64_kib
@pytest.mark.parametrize("size", [4096, 128 << 10, WIDE, 1 << 20])
def test_a_size_that_the_container_has_chosen(container: Container, size: int) -> None:
    """What a container has made of its pipe stays, during a burst and after it."""
    client = launch(container, f"{RESIZE % size}; cat data; echo done; read -r _ <go")
    stdout = stdout_of(container)
    start(container)
    wait_pipe(lambda: unread(stdout) > size // 2, "a pipe that fills up")
    assert room(stdout) == size
    client.read_until(b"done\n")
    wait_pipe(lambda: unread(stdout) == 0, "an empty pipe")
    assert room(stdout) == size
    os.close(stdout)
    end(container)


@pipes_of_64_kib
def test_little_output(container: Container) -> None:
    """A container that does not fill its pipe has it as it is."""
    client = launch(container, "head -c 20000 data; echo done; read -r _ <go")
    stdout = stdout_of(container)
    start(container)
    client.read_until(b"done\n")
    assert room(stdout) == PIPE
    os.close(stdout)
    end(container)


def test_output_that_nobody_wants(container: Container) -> None:
    """Log driver none, no client: all of it is taken, and a client that comes gets what follows."""
    container.put("data", FLOOD)
    container.fifo("one")
    container.fifo("two")
    container.options["-l"] = "none"
    container.command("cat data; read -r _ <one; cat data; read -r _ <two; cat data; cat data >&2")
    container.launch()
    container.wait_name(container.bundle / "conmon-counters")
    wait_counters(container, lambda now: now["bytes_in"] == len(FLOOD))
    client = container.attach()
    container.open_fifo(container.bundle / "one")
    client.read_until(FLOOD[-12:])
    client.close()
    wait_counters(container, lambda now: now["clients_now"] == 0)
    container.open_fifo(container.bundle / "two")
    assert container.end() == 0
    assert client.stream(2) == FLOOD
