"""C20, rows 3 and 21: clients whose input nobody wants, and too many clients."""

from __future__ import annotations

import time

import pytest
from harness import Container
from harness_counters import wait_counters
from harness_os import Deadline
from harness_proc import context_switches, open_fds, settled

CLIENT_LIMIT = 128
WAITING = 8  # the kernel lets some more connect, and wait


def sockets(container: Container) -> int:
    """Open sockets of the monitor: two, and one for each client."""
    targets = open_fds(container.monitor.pid).values()
    return sum(target.startswith("socket:") for target in targets)


def wait_sockets(container: Container, count: int) -> None:
    """Wait until the monitor has so many. Polled: a close has no event for others."""
    deadline = Deadline()
    while sockets(container) != count:
        assert not deadline.passed(), f"{sockets(container)} sockets, not {count}"
        time.sleep(0.001)


def launch(container: Container, command: str, *options: str) -> None:
    """A container that runs a command, and then waits on the fifo `go`."""
    container.fifo("go")
    container.command(f"{command}; read -r _ <go; exit 3")
    container.launch(*options)
    container.started()


def end(container: Container) -> None:
    container.open_fifo(container.bundle / "go")
    assert container.end() == 3


CASES = [
    pytest.param("exec 0<&-; echo closed", ["-i"], id="stdin closed by the container"),
    pytest.param("echo closed", [], id="no stdin"),
]


@pytest.mark.ours("it does not read a client's input any more, nor sees that it goes (C20.3)")
@pytest.mark.parametrize(("command", "options"), CASES)
def test_input_that_nobody_reads(container: Container, command: str, options: list[str]) -> None:
    """C20.3: it is taken and dropped; that the client goes is noticed, and nothing spins."""
    launch(container, command, *options)
    container.wait_log(b" F closed\n")
    before = sockets(container)
    client = container.attach()
    for _ in range(100):  # 3 MB: more than the socket's buffer
        client.send(b"x" * 32768)
    switches = settled(container.monitor.pid)
    time.sleep(0.3)  # the measurement: nothing may happen in it
    assert context_switches(container.monitor.pid) == switches
    client.close()
    wait_sockets(container, before)
    end(container)


@pytest.mark.ours("it does not see that the second client goes (C20.3)")
def test_client_after_the_end_of_input(container: Container) -> None:
    """C20.3: once a client has ended the container's input others may come, send, and go."""
    launch(container, "cat; echo end of input", "-i")
    before = sockets(container)
    first = container.attach()
    first.send(b"words\n")
    first.end_input()
    container.wait_log(b" F end of input\n")
    second = container.attach()
    for _ in range(100):
        second.send(b"x" * 32768)
    second.close()
    wait_sockets(container, before + 1)  # the first may still listen
    first.close()
    wait_sockets(container, before)
    end(container)


@pytest.mark.ours("it has no limit (C20.21)")
def test_too_many_clients(container: Container) -> None:
    """C20.21: 128 are served; others wait until one of these goes, and are served then."""
    launch(container, "read -r _ <go; echo for all")
    base = sockets(container)
    clients = [container.attach() for _ in range(CLIENT_LIMIT)]
    waiting = [container.attach(accepted=False) for _ in range(WAITING)]
    settled(container.monitor.pid)
    assert sockets(container) == base + CLIENT_LIMIT
    clients.pop().close()
    wait_counters(container, lambda counters: counters["clients"] == CLIENT_LIMIT + 1)
    assert sockets(container) == base + CLIENT_LIMIT
    container.open_fifo(container.bundle / "go")
    container.wait_log(b" F for all\n")
    for client in [*clients, waiting[0]]:
        client.read_until(b"for all\n")
        client.close()
    for client in waiting[1:]:
        client.close()
    wait_sockets(container, base)
    end(container)
