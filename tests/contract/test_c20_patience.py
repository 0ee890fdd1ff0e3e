"""C20.1: the policy `drop` disconnects a client that takes nothing, not one that is slow."""

from __future__ import annotations

import time
from functools import partial

import pytest
from harness import Container
from harness_attach import AttachClient
from harness_counters import read_counters, wait_counters
from harness_proc import sleep_limit_ms
from harness_syslog import Syslog

pytestmark = pytest.mark.ours("a client that does not read stalls everything (C20.1)")

# More than socket buffers, queue (1 MiB) and pipe take together.
FLOOD = b"".join(b"line %09d\n" % i for i in range(200_000))


def launch(container: Container, policy: str, command: str = "cat data; read -r _ <go") -> Syslog:
    """A container that waits at its start, and writes more than clients take; conmon is heard."""
    container.put("data", FLOOD)
    container.fifo("start")
    container.fifo("go")
    container.command(command)
    syslog = Syslog(container)
    container.launch("--syslog", "--attach-slow-client", policy, wrapper=syslog.wrapper)
    container.started()
    return syslog


def start_stalled(container: Container) -> None:
    """Let the container write, and wait until it is held back."""
    container.open_fifo(container.bundle / "start")
    wait_counters(container, lambda counters: counters["stalls"] > 0)


def end(container: Container) -> None:
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


def has_stalled(counters: dict[str, int], times: int) -> bool:
    return counters["stalls"] >= times


def read_slowly(client: AttachClient, packets: int, pause: float) -> None:
    for _ in range(packets):
        time.sleep(pause)  # the client's pace, a tenth of the monitor's patience
        assert client.read_packet()


def test_slow_client_loses_nothing(container: Container) -> None:
    """C20.1: the container waits for a client that takes something now and then.

    A socket counts as writable only when three quarters of it were read (24 packets): the client
    is read from for longer than the patience, and takes fewer.
    """
    launch(container, "drop")
    client = container.attach()
    start_stalled(container)
    read_slowly(client, 14, 0.5)
    client.read_until(FLOOD[-16:])
    assert client.stream(2) == FLOOD
    assert read_counters(container)["clients_dropped"] == 0
    end(container)


def test_dead_client_is_disconnected(container: Container) -> None:
    """C20.1: after the time without a byte taken; it is told and counted, and the rest goes on."""
    syslog = launch(container, "drop:1")
    client = container.attach()
    start_stalled(container)
    assert syslog.next().text.endswith(b"Disconnecting an attach client that does not read")
    wait_counters(container, lambda counters: counters["bytes_in"] == len(FLOOD))
    counters = read_counters(container)
    assert (counters["clients_dropped"], counters["clients_now"]) == (1, 0)
    data = client.read_all()
    assert data
    assert FLOOD.startswith(data)
    assert not client.was_reset
    end(container)


def test_only_the_dead_of_two(container: Container) -> None:
    """C20.1: a client that keeps up waits for the dead one, and then gets everything."""
    launch(container, "drop:1")
    dead, alive = container.attach(), container.attach()
    container.open_fifo(container.bundle / "start")
    alive.read_until(FLOOD[-16:])
    assert alive.stream(2) == FLOOD
    assert read_counters(container)["clients_dropped"] == 1
    assert len(dead.read_all()) < len(FLOOD)
    end(container)


@pytest.mark.parametrize("policy", ["drop", "drop:1", "drop:1000000000"])
def test_timer_runs_only_while_a_client_is_stalled(container: Container, policy: str) -> None:
    """C20.1: an idle monitor has no timer set, before and after."""
    launch(container, policy)
    client = container.attach()
    monitor = container.monitor.pid
    assert sleep_limit_ms(monitor) == -1
    start_stalled(container)
    if policy == "drop:1000000000":
        assert sleep_limit_ms(monitor) > 0
    client.close()
    wait_counters(container, lambda counters: counters["bytes_in"] == len(FLOOD))
    assert sleep_limit_ms(monitor) == -1
    end(container)


def test_client_that_catches_up(container: Container) -> None:
    """C20.1: the time begins anew when a client is stalled again; between, no timer runs."""
    launch(container, "drop:1000000000", "for _ in 1 2 3; do cat data; read -r _ <go; done")
    client = container.attach()
    container.open_fifo(container.bundle / "start")
    for done in (1, 2, 3):
        wait_counters(container, partial(has_stalled, times=done))
        while len(client.stream(2)) < done * len(FLOOD):
            assert client.read_packet()
        assert sleep_limit_ms(container.monitor.pid) == -1
        container.open_fifo(container.bundle / "go")
    assert client.read_all() == FLOOD * 3
    assert container.end() == 0


def test_block_has_no_timer(container: Container) -> None:
    """C20.1: with `block` the container waits for as long as it takes."""
    launch(container, "block")
    client = container.attach()
    start_stalled(container)
    assert sleep_limit_ms(container.monitor.pid) == -1
    client.close()
    end(container)


@pytest.mark.parametrize("policy", ["wait", "drop:0", "drop:-1", "drop:x", "drop:", "block:5"])
def test_policy_that_is_refused(container: Container, policy: str) -> None:
    """C20.1: the caller is told what is expected."""
    container.launch("--attach-slow-client", policy)
    assert container.parent_status() == 1
    assert b"attach-slow-client" in container.stderr
    assert container.stderr.endswith(b"got %s\n" % policy.removeprefix("drop:").encode())
