"""C21.1: a client that goes on reading gets every byte and a clean end, whatever it has sent.

Closing a unix socket with received data unread makes the peer's next recv fail with ECONNRESET,
before what is queued for it; closing a listener does that to those that wait for an accept.
"""

from __future__ import annotations

import os
import time

import pytest
from harness import Container
from harness_attach import AttachClient
from harness_counters import wait_counters
from harness_exec import AttachPipe, as_podman_exec
from harness_fifo import unread
from harness_os import Deadline
from harness_proc import settled

pytestmark = pytest.mark.ours("it closes with input unread (C21.1)")

# More than socket buffers, queue (1 MiB) and pipe take together.
FLOOD = b"".join(b"line %09d\n" % i for i in range(400_000))
SIZES = [100, 1_000_000]  # fits into the client's socket, or is delivered after the end
PACKETS = {
    "data": [b"x" * 32768] * 3,
    "an empty packet, and data": [b"", b"x", b""],
    "empty packets": [b"", b"", b""],
}


def launch(container: Container, command: str, *options: str) -> AttachClient:
    """A container that waits at its start, with a client attached."""
    container.put("data", FLOOD)
    container.fifo("start")
    container.command(command)
    container.launch(*options)
    container.started()
    return container.attach()


def start(container: Container) -> None:
    container.open_fifo(container.bundle / "start")


def fill(container: Container, client: AttachClient) -> None:
    """Send until neither the container's stdin nor the monitor nor the socket takes more."""
    sent = -1
    while sent:  # the monitor may have made room since
        sent = 0
        while client.try_send(b"x" * 32768):
            sent += 1
        settled(container.monitor.pid)


def all_of(client: AttachClient) -> bytes:
    """Everything on stdout up to a clean end of file."""
    data = client.read_all()
    assert not client.was_reset, f"reset after {len(data)} bytes"
    return data


@pytest.mark.parametrize("size", SIZES)
def test_input_that_the_container_did_not_read(container: Container, size: int) -> None:
    """C21.1: more input than stdin takes, and the container ends without reading any."""
    client = launch(container, f"head -c {size} data; exit 3", "-i")
    fill(container, client)
    start(container)
    assert container.end() == 3
    assert all_of(client) == FLOOD[:size]


@pytest.mark.parametrize("packets", PACKETS.values(), ids=PACKETS.keys())
def test_kinds_of_input(container: Container, packets: list[bytes]) -> None:
    """C21.1: packets without a byte, each of which looks like the end of the input."""
    client = launch(container, "echo hello", "-i")
    other = container.attach()
    fill(container, other)
    for packet in packets:
        client.send(packet)
    start(container)
    assert container.end() == 0
    assert all_of(client) == b"hello\n"
    assert all_of(other) == b"hello\n"


def test_input_after_the_end(container: Container) -> None:
    """C21.1: who is still due output cannot send any more, and loses nothing by trying."""
    client = launch(container, "head -c 1000000 data", "-i")
    start(container)
    assert container.end() == 0
    with pytest.raises(BrokenPipeError):
        client.send(b"too late")
    assert all_of(client) == FLOOD[:1_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_session_that_ends_at_once(container: Container, size: int) -> None:
    """C21.1: podman exec -i of a command that does not read: over before the monitor begins."""
    as_podman_exec(container)
    container.put("data", FLOOD)
    container.command(f"head -c {size} data; exit 3")
    pipe = AttachPipe(container)
    pipe.launch(container, "-i")
    pipe.message()
    client = container.attach(accepted=False)
    while client.try_send(b"x" * 32768):
        pass
    container.go()
    container.started()
    assert container.end() == 3
    assert all_of(client) == FLOOD[:size]


@pytest.mark.parametrize("sent", [b"", b"input"])
def test_session_that_does_not_start(container: Container, sent: bytes) -> None:
    """C21.1: a client that waits for a session which the runtime refuses sees a clean end."""
    as_podman_exec(container)
    container.put("stderr", "no such program")
    container.put("status", "1")
    container.put("no-pid-file", "")
    pipe = AttachPipe(container)
    pipe.launch(container)
    pipe.message()
    client = container.attach(accepted=False)
    if sent:
        client.send(sent)
    container.go()
    assert container.report()["data"] == -1
    assert all_of(client) == b""


def test_container_that_is_not_created(container: Container) -> None:
    """C21.1: the same for a container."""
    container.fifo("hang")
    container.put("status", "1")
    container.launch()
    container.wait_name(container.bundle / "winsz")  # made last: the socket listens
    client = container.attach(accepted=False)
    client.send(b"input")
    container.open_fifo(container.bundle / "hang")
    assert container.report()["data"] == -1
    assert all_of(client) == b""


def wait_output(pid: int) -> None:
    """Wait until output of a container waits in its pipe. Polled: that has no event."""
    deadline = Deadline()
    fd = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    while not unread(fd):
        assert not deadline.passed(), "no output waits"
        time.sleep(0.002)
    os.close(fd)


def test_clients_that_wait_for_a_place(container: Container) -> None:
    """C21.1: who connected before the end comes in before the last output is read."""
    first = launch(container, "cat data", "--attach-slow-client", "block")
    others = [container.attach() for _ in range(127)]
    late = [container.attach(accepted=False) for _ in range(8)]
    for client in late:
        client.send(b"input")
    start(container)
    wait_counters(container, lambda counters: counters["stalls"] > 0)
    pid = int(container.pidfile.read_bytes())
    wait_output(pid)
    container.kill(pid)
    whole = all_of(first)
    assert FLOOD.startswith(whole)
    for client in late:
        last = all_of(client)
        assert last
        assert whole.endswith(last)
    for client in others:
        client.close()


def test_client_that_is_dropped(container: Container) -> None:
    """C21.1, C20.1: who is disconnected gets what was sent to it, and a clean end."""
    container.fifo("end")
    client = launch(container, "cat data; read -r _ <end", "-i", "--attach-slow-client", "drop")
    fill(container, client)
    start(container)
    wait_counters(container, lambda counters: counters["clients_dropped"] == 1)
    data = all_of(client)
    assert data
    assert FLOOD.startswith(data)
    container.open_fifo(container.bundle / "end")
    assert container.end() == 0
