"""C20.2: as many clients as are taken, and a monitor that has no fd left."""

from __future__ import annotations

import resource
import time

import pytest
from harness import Container
from harness_counters import read_counters, wait_counters
from harness_proc import context_switches, no_fd_left, settled
from harness_syslog import Syslog

pytestmark = pytest.mark.ours("it has no bound, and waits for nothing when fds are short")

CLIENTS = 128
BYTES = 600_000  # more than a client's socket holds, less than its queue may hold besides


def launch(container: Container, command: str) -> Syslog:
    """A container that waits for its start; conmon is heard."""
    container.put("data", b"0123456789abcde\n" * (BYTES // 16))
    container.fifo("start")
    container.command(command)
    syslog = Syslog(container)
    container.launch("--syslog", "--attach-slow-client", "drop", wrapper=syslog.wrapper)
    container.started()
    return syslog


def test_most_clients(container: Container) -> None:
    """C20.21: no more than 128 clients are taken; who comes then waits until one goes.

    At the end each gets what it is due, and its end of file, whether others read or not.
    """
    syslog = launch(container, "cat data")
    clients = [container.attach() for _ in range(CLIENTS)]
    assert syslog.next().text.endswith(b"Too many attach clients: others wait until one leaves")
    late = container.attach(accepted=False)
    container.open_fifo(container.bundle / "start")
    first = clients.pop()
    assert len(first.read_all()) == BYTES
    assert container.end() == 0
    for client in clients:
        assert len(client.read_all()) == BYTES
    assert not late.stream(2)


def test_client_after_one_has_gone(container: Container) -> None:
    """C20.21: a place that becomes free is the next client's."""
    syslog = launch(container, "cat data")
    clients = [container.attach() for _ in range(CLIENTS)]
    syslog.until(b"Too many attach clients: others wait until one leaves")
    late = container.attach(accepted=False)
    clients.pop().close()
    wait_counters(container, lambda counters: counters["clients"] == CLIENTS + 1)
    container.open_fifo(container.bundle / "start")
    assert len(late.read_all()) == BYTES
    assert container.end() == 0
    for client in clients:
        client.close()


def test_client_without_an_fd(container: Container) -> None:
    """C20.2: a client comes in once there is an fd again, though no other client goes."""
    syslog = launch(container, "cat data")
    with no_fd_left(container.monitor.pid):
        client = container.attach(accepted=False)
        # not even syslog can be reached to say it
        wait_counters(container, lambda counters: counters["unreported"] > 0)
        before = settled(container.monitor.pid)
        time.sleep(1)  # the measurement: it tries now and then, and does not spin
        assert context_switches(container.monitor.pid) - before < 200
    wait_counters(container, lambda counters: counters["clients"] == 1)
    assert syslog.next().text.endswith(b"Attach clients are accepted again")
    container.open_fifo(container.bundle / "start")
    assert len(client.read_all()) == BYTES
    assert container.end() == 0


def test_client_that_gives_up(container: Container) -> None:
    """C20.2: the same after a client that has not waited."""
    syslog = launch(container, "cat data")
    with no_fd_left(container.monitor.pid):
        container.attach(accepted=False).close()
        wait_counters(container, lambda counters: counters["unreported"] > 0)
    assert syslog.next().text.endswith(b"Attach clients are accepted again")
    # the one that has gone was let in, and let go
    wait_counters(
        container, lambda counters: (counters["clients"], counters["clients_now"]) == (1, 0)
    )
    client = container.attach()
    container.open_fifo(container.bundle / "start")
    assert len(client.read_all()) == BYTES
    assert container.end() == 0


def test_no_more_clients_after_a_shortage(container: Container) -> None:
    """C20.21: where a client once had to wait for an fd, the most that are taken stay the most."""
    launch(container, "exit 3")
    clients = [container.attach() for _ in range(CLIENTS - 8)]
    monitor = container.monitor.pid
    soft, hard = resource.prlimit(monitor, resource.RLIMIT_NOFILE)
    resource.prlimit(monitor, resource.RLIMIT_NOFILE, (1, hard))
    clients.append(container.attach(accepted=False))
    settled(monitor)
    resource.prlimit(monitor, resource.RLIMIT_NOFILE, (soft, hard))
    clients.pop(0).close()  # a place is free: all who wait come in
    wait_counters(container, lambda counters: counters["clients_now"] == CLIENTS - 8)
    clients += [container.attach() for _ in range(8)]
    late = [container.attach(accepted=False) for _ in range(5)]
    end = time.monotonic() + 1  # longer than conmon waits before it looks for an fd again
    while time.monotonic() < end:
        assert read_counters(container)["clients_now"] == CLIENTS
        time.sleep(0.01)
    container.open_fifo(container.bundle / "start")
    assert container.end() == 3
    for client in clients + late:
        client.close()
