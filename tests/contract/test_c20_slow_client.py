"""C20.1: a client that does not read never blocks the monitor, under either policy."""

from __future__ import annotations

import time

import pytest
from harness import Container
from harness_attach import AttachClient
from harness_counters import wait_counters
from harness_os import Deadline
from harness_proc import open_fds

pytestmark = pytest.mark.ours("a client that does not read stalls everything (C20.1)")

POLICIES = ["block", "drop"]
# More than socket buffers, queue (1 MiB) and pipe take together.
FLOOD = b"".join(b"line %09d\n" % i for i in range(400_000))


def launch(container: Container, policy: str, command: str, *options: str) -> AttachClient:
    """A container that waits at its start, with a client attached that reads nothing yet."""
    container.put("data", FLOOD)
    container.fifo("start")
    container.fifo("go")
    container.command(command)
    container.launch("--attach-slow-client", policy, *options)
    container.started()
    return container.attach()


def start(container: Container) -> None:
    container.open_fifo(container.bundle / "start")


def wait_stalled(container: Container) -> None:
    """Wait until the container is held back for a client."""
    wait_counters(container, lambda counters: counters["stalls"] > 0)


def logged(container: Container) -> bytes:
    """What the log says that the container wrote."""
    parts = []
    for line in container.log.read_bytes().splitlines():
        assert line[35:43] == b" stdout ", line
        parts.append(line[45:] + (b"\n" if line[43:44] == b"F" else b""))
    return b"".join(parts)


def test_block_holds_the_container_back_and_loses_nothing(container: Container) -> None:
    """C20.1, block: the container waits for its client; both client and log get every byte."""
    client = launch(container, "block", "cat data")
    start(container)
    wait_stalled(container)
    assert container.monitor.alive()
    assert len(container.log.read_bytes()) < len(FLOOD)
    assert client.read_all() == FLOOD
    assert container.end() == 0
    assert logged(container) == FLOOD


def test_drop_lets_the_container_go_on(container: Container) -> None:
    """C20.1, drop: the client is disconnected; container and log never wait for it."""
    client = launch(container, "drop", "cat data")
    start(container)
    assert container.end() == 0
    assert logged(container) == FLOOD
    got = client.read_all()
    assert FLOOD.startswith(got)
    assert got != FLOOD


@pytest.mark.parametrize("policy", POLICIES)
def test_default_policy(container: Container, policy: str) -> None:
    """C20.1: block for callers of API 1 (podman), drop for callers of API 0 (CRI-O)."""
    if policy == "drop":
        del container.options["--api-version"]
    container.put("data", FLOOD)
    container.fifo("start")
    container.command("cat data")
    container.launch()
    container.started()
    client = container.attach()
    start(container)
    if policy == "drop":
        assert container.end() == 0
        assert client.read_all() != FLOOD
    else:
        assert client.read_all() == FLOOD
        assert container.end() == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_kill_is_noticed(container: Container, policy: str) -> None:
    """C20.1: while a client does not read, the container's death is seen and recorded at once."""
    client = launch(container, policy, "cat data; read -r _ <go")
    start(container)
    wait_stalled(container)
    container.kill(int(container.pidfile.read_bytes()))
    client.close()


def test_client_gets_what_it_is_due_after_the_end(container: Container) -> None:
    """C20.1: after the end nothing waits for the client, and the client loses nothing."""
    client = launch(container, "block", "head -c 1000000 data")
    start(container)
    assert container.end() == 0  # conmon has gone, and the client has read nothing yet
    assert client.read_all() == FLOOD[:1_000_000]


def test_client_that_goes_after_the_end(container: Container) -> None:
    """C20.1: what delivers to a client ends when the client has gone; nothing is left."""
    client = launch(container, "block", "head -c 1000000 data")
    start(container)
    assert container.end() == 0
    client.close()
    assert container.nothing_runs()


@pytest.mark.parametrize("policy", POLICIES)
def test_ctl_is_served(container: Container, policy: str) -> None:
    """C20.1: the log can be reopened while a client does not read."""
    client = launch(container, policy, "cat data; read -r _ <go")
    start(container)
    wait_stalled(container)
    moved = container.log.with_suffix(".moved")
    container.allow("logs/" + moved.name)
    container.log.rename(moved)
    (container.bundle / "ctl").write_text("2 0 0\n")
    container.wait_name(container.log)
    client.close()
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_timeout_fires(container: Container, policy: str) -> None:
    """C20.1, C17.4: --timeout ends the container while a client does not read."""
    client = launch(container, policy, "cat data; read -r _ <go", "--timeout", "3")
    start(container)
    assert container.end() == -1
    client.close()


def test_other_clients_go_on(container: Container) -> None:
    """C20.1, drop: a client that keeps up gets everything, whatever another one does."""
    rounds, size = 10, 200_000  # more than a sleeper's socket and queue hold
    sleeper = launch(
        container, "drop", f"for i in $(seq {rounds}); do head -c {size} data; read -r _ <go; done"
    )
    reader = container.attach()
    start(container)
    for done in range(1, rounds + 1):
        while len(reader.stream(2)) < done * size:
            assert reader.read_packet()
        container.open_fifo(container.bundle / "go")
    assert reader.read_all() == FLOOD[:size] * rounds
    assert container.end() == 0
    assert sleeper.read_all() != reader.stream(2)


def test_new_client_while_one_is_slow(container: Container) -> None:
    """C20.1, block: a new client is let in, and one that leaves ends the wait."""
    sleeper = launch(container, "block", "cat data")
    start(container)
    wait_stalled(container)
    second = container.attach()
    sleeper.close()
    second.read_all()
    assert container.end() == 0
    assert logged(container) == FLOOD


def test_no_fd_is_left_by_clients(container: Container) -> None:
    """C20.2: clients that come and go while the container is silent leave no fd behind."""
    client = launch(container, "block", "exit 0")
    client.close()
    before = None
    for _ in range(20):
        container.attach().close()
        if before is None:
            before = settled_fds(container)
    assert settled_fds(container) == before
    start(container)
    assert container.end() == 0


def settled_fds(container: Container) -> int:
    """The monitor's open fds once it has noticed that every client has gone."""
    pid = container.monitor.pid

    def only_listener() -> bool:
        sockets = [target for target in open_fds(pid).values() if target.startswith("socket:")]
        return len(sockets) == 2  # sync pipe and listener

    deadline = Deadline()
    while not only_listener():  # polled: a close in another process has no event
        assert not deadline.passed(), f"clients are still open: {open_fds(pid)}"
        time.sleep(0.001)
    return len(open_fds(pid))
