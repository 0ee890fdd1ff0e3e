"""C20.21: a client that has gone is gone, whatever the container's stdin does."""

from __future__ import annotations

import os
import signal

import pytest
from harness import Container
from harness_attach import AttachClient
from harness_counters import wait_counters
from harness_os import descendants
from harness_proc import open_fds, private_dirty_kb, settled

pytestmark = pytest.mark.ours("it has no limit, and closes with input unread")

CLIENT_LIMIT = 128
LEAVER_LIMIT = 128
STAYS = ["--leave-stdin-open"]


def launch(container: Container, *options: str) -> None:
    """A container that reads its stdin when told to, and then waits for its end."""
    container.fifo("start")
    container.fifo("read")
    container.fifo("go")
    container.record()
    container.command(
        "exec 3<&0; echo early; read -r _ <read; echo served; "
        "{ cat <&3 >seen/input; echo whole; } & "
        "read -r _ <go; exit 3"
    )
    container.launch("-i", *options)
    container.started()


def fill(container: Container) -> tuple[AttachClient, int]:
    """A client that has sent until nobody takes more, and how many bytes."""
    client = container.attach()
    sent, last = 0, -1
    while sent != last:  # the monitor may have made room since
        last = sent
        while client.try_send(b"x" * 32768):
            sent += 32768
        settled(container.monitor.pid)
    return client, sent


def gone(container: Container, clients: int) -> None:
    """Wait until the monitor counts so many clients."""
    wait_counters(container, lambda counters: counters["clients_now"] == clients)


def sockets(container: Container) -> int:
    targets = open_fds(container.monitor.pid).values()
    return sum(target.startswith("socket:") for target in targets)


def the_input(container: Container, size: int) -> bytes:
    """What the container has read, once it is so much."""
    path = container.seen / "input"
    container.wait_until(
        lambda: path.exists() and path.stat().st_size >= size, f"{size} bytes of input"
    )
    return path.read_bytes()


def end(container: Container) -> None:
    container.open_fifo(container.bundle / "go")
    assert container.end() == 3


@pytest.mark.parametrize("options", [STAYS, []], ids=["stdin stays open", "stdin ends"])
@pytest.mark.parametrize("data", [b"", b"input"], ids=["silent", "with input"])
def test_places_are_free(container: Container, options: list[str], data: bytes) -> None:
    """C20.21: more clients than there are places come and go while stdin is full."""
    launch(container, *options)
    container.open_fifo(container.bundle / "start")
    fill(container)
    for _ in range(CLIENT_LIMIT + 2):
        client = container.attach()
        if data:
            client.send(data)
        client.close()
    gone(container, 1)
    late = container.attach()
    container.open_fifo(container.bundle / "read")
    late.read_until(b"served\n")
    end(container)


def test_all_at_once(container: Container) -> None:
    """C20.21: every place is taken, and all go at once, while stdin is full."""
    launch(container, *STAYS)
    container.open_fifo(container.bundle / "start")
    filler, _ = fill(container)
    clients = [container.attach() for _ in range(CLIENT_LIMIT - 1)]
    late = container.attach(accepted=False)
    for client in clients:
        client.send(b"input")
        client.close()
    wait_counters(container, lambda counters: counters["clients"] == CLIENT_LIMIT + 1)
    gone(container, 2)
    container.open_fifo(container.bundle / "read")
    late.read_until(b"served\n")
    filler.close()
    late.close()
    end(container)


def test_what_leavers_have_sent_arrives(container: Container) -> None:
    """C20.21: the input of those that have gone is not lost, and in the order of their going."""
    launch(container, *STAYS)
    container.open_fifo(container.bundle / "start")
    filler, filled = fill(container)
    words = [b"client %03d\n" % number for number in range(100)]
    for word in words:
        client = container.attach()
        client.send(word[:7])
        client.send(word[7:])
        client.close()
        gone(container, 1)
    before = sockets(container)
    container.open_fifo(container.bundle / "read")
    data = the_input(container, filled + sum(map(len, words)))
    assert data.replace(b"x", b"") == b"".join(words)
    assert len(data) == filled + sum(map(len, words))
    filler.close()
    gone(container, 0)
    assert sockets(container) == before - len(words) - 1
    end(container)


def test_input_of_a_leaver_precedes_its_end(container: Container) -> None:
    """C20.21, C12.5: what it sent before it went arrives, and then the end of its input counts."""
    launch(container)
    container.open_fifo(container.bundle / "start")
    fill(container)
    client = container.attach()
    client.send(b"last words")
    client.close()
    gone(container, 1)
    container.attach().close()  # whose end is not to come first
    gone(container, 1)
    container.open_fifo(container.bundle / "read")
    container.wait_log(b" F whole\n")
    assert (container.seen / "input").read_bytes().endswith(b"last words")
    end(container)


def test_too_many_leavers(container: Container) -> None:
    """C20.21: the input of so many is kept; that more is lost is counted."""
    launch(container, *STAYS)
    container.open_fifo(container.bundle / "start")
    _, filled = fill(container)
    for number in range(LEAVER_LIMIT + 5):
        client = container.attach()
        client.send(b"%04d" % number)
        client.close()
        gone(container, 1)
    wait_counters(container, lambda counters: counters["clients_dropped"] == 5)
    container.open_fifo(container.bundle / "read")
    data = the_input(container, filled + 4 * LEAVER_LIMIT)
    assert data.replace(b"x", b"") == b"".join(b"%04d" % i for i in range(LEAVER_LIMIT))
    end(container)


def test_end_while_leavers_wait(container: Container) -> None:
    """C20.21: a container that ends without reading; nothing is left of them."""
    launch(container, *STAYS)
    filler, _ = fill(container)
    container.open_fifo(container.bundle / "start")
    for _ in range(3):
        client = container.attach()
        client.send(b"input")
        client.close()
        gone(container, 1)
    filler.read_until(b"early\n")
    container.kill(int(container.pidfile.read_bytes()))
    assert filler.read_all() == b"early\n"
    assert not filler.was_reset


def test_input_of_a_client_that_left_output_unread(container: Container) -> None:
    """C20.21: its going is reported as an error (ECONNRESET) first, and its input after that."""
    launch(container, *STAYS)
    client = container.attach()
    container.open_fifo(container.bundle / "start")
    container.wait_log(b" F early\n")
    os.kill(container.monitor.pid, signal.SIGSTOP)  # the monitor is to see all of it at once
    client.send(b"words ")
    client.send(b"and more")
    client.close()
    os.kill(container.monitor.pid, signal.SIGCONT)
    gone(container, 0)
    container.open_fifo(container.bundle / "read")
    assert the_input(container, 14) == b"words and more"
    end(container)


def test_memory_of_what_waits(container: Container) -> None:
    """C20.1: what waits for clients is kept once, in the monitor and in the child that is left."""
    size = 1_000_000
    container.put("data", b"0123456789abcde\n" * (size // 16))
    container.fifo("start")
    container.command("cat data")
    container.launch("--no-sync-log")  # no other child
    container.started()
    clients = [container.attach() for _ in range(64)]
    container.open_fifo(container.bundle / "start")
    monitor = container.monitor.pid
    assert container.end() == 0
    (child,) = [row for row in descendants() if row.state != "Z"]
    assert child.pid != monitor
    assert private_dirty_kb(child.pid) + 1000 < 8 << 10
    for client in clients:
        assert len(client.read_all()) == size
        assert not client.was_reset
