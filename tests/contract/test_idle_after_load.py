"""An idle monitor is small again after every kind of load, and asleep."""

from __future__ import annotations

import socket
import time

import pytest
from harness import Container
from harness_attach import connect
from harness_counters import wait_counters
from harness_os import TIMEOUT_S
from harness_proc import IDLE_MAX_KB, context_switches, private_dirty_kb, settled, sleep_limit_ms
from harness_terminal import control, wait_size, wait_taken, with_terminal

pytestmark = pytest.mark.ours("the C conmon has 320 kB and more")

CLIENTS = 64
MEGABYTES = 5


def launch(container: Container, command: str, *options: str) -> None:
    """A container that runs a command when told to, and then waits on the fifo `go`."""
    container.fifo("start")
    container.fifo("go")
    container.command(f"{command}; read -r _ <go; exit 3")
    container.launch(*options)
    container.started()


def start(container: Container) -> None:
    container.open_fifo(container.bundle / "start")


def end_small(container: Container) -> None:
    """The monitor is as small and quiet as one that never had anything to do. Then the end."""
    pid = container.monitor.pid
    before = settled(pid)
    assert private_dirty_kb(pid) <= IDLE_MAX_KB
    time.sleep(0.3)  # the measurement: nothing may happen in it
    assert context_switches(pid) == before
    container.open_fifo(container.bundle / "go")
    assert container.end() == 3


def test_many_clients(container: Container) -> None:
    """Figures: 64 clients that do not read, with a megabyte that waits for all, and all go."""
    launch(container, f"head -c {MEGABYTES}000000 /dev/zero; echo done", "-i")
    clients = [container.attach() for _ in range(CLIENTS)]
    start(container)
    wait_counters(container, lambda counters: counters["stalls"] == CLIENTS)
    assert private_dirty_kb(container.monitor.pid) > 1000
    for client in clients:
        client.close()
    container.wait_log(b"done\n")
    wait_counters(container, lambda counters: counters["clients_now"] == 0)
    end_small(container)


def test_clients_that_come_and_go(container: Container) -> None:
    """Figures: 300 clients, one after the other, each with input and output."""
    launch(container, "while read -r line && [ $line != end ]; do echo $line; done", "-i",
           "--leave-stdin-open")  # fmt: skip
    start(container)
    for number in range(300):
        client = container.attach()
        client.send(b"%d\n" % number)
        client.read_until(b"%d\n" % number)
        client.close()
    last = container.attach()
    last.send(b"end\n")
    last.close()
    wait_counters(container, lambda counters: counters["clients_now"] == 0)
    end_small(container)


def test_stdin_megabytes(container: Container) -> None:
    """Figures: 5 MB to the container and back to the client."""
    data = b"".join(b"line %09d\n" % number for number in range(MEGABYTES * 1_000_000 // 15))
    launch(container, "cat", "-i")
    client = container.attach()
    start(container)
    for at in range(0, len(data), 32768):
        client.send(data[at : at + 32768])
        while len(client.stream(2)) + 100_000 < at:
            client.read_packet()
    client.end_input()
    client.read_until(data[-15:])
    assert client.stream(2) == data
    client.close()
    wait_counters(container, lambda counters: counters["clients_now"] == 0)
    end_small(container)


def test_input_that_is_not_read(container: Container) -> None:
    """Figures: a client fills all buffers on the way to a container that does not read, and goes.

    What conmon holds of it by then is the container's, and stays: less than a packet.
    """
    launch(container, "read -r _ <go; cat >/dev/null", "-i")
    client = container.attach()
    start(container)
    while client.room_within(0.2):
        client.try_send(b"x" * 32768)
    client.close()
    container.open_fifo(container.bundle / "go")
    wait_counters(container, lambda counters: counters["clients_now"] == 0)
    end_small(container)


def test_input_that_waits(container: Container) -> None:
    """C12.4: memory that is given back is not that of input which the container has yet to read."""
    container.fifo("more")
    launch(container, "read -r _ <more; seq 30000; read -r _ <more; cat >copy", "-i")
    client = container.attach()
    start(container)
    packets: list[bytes] = []
    while client.room_within(0.2):
        packet = b"%032767d\n" % len(packets)
        if client.try_send(packet):
            packets.append(packet)
    container.open_fifo(container.bundle / "more")
    container.wait_log(b" F 30000\n")
    assert sleep_limit_ms(container.monitor.pid) == -1  # all is given back that will be
    container.open_fifo(container.bundle / "more")
    client.end_input()
    container.open_fifo(container.bundle / "go")
    assert container.end() == 3
    copy = container.bundle / "copy"
    assert copy.read_bytes() == b"".join(packets)
    copy.unlink()


@pytest.mark.parametrize("host", ["there", "away"])
def test_flood_of_notifications(container: Container, host: str) -> None:
    """Figures: 20,000 messages of a kilobyte, to a service manager that is there, or is not."""
    (container.bundle / "notify").mkdir()
    container.allow("bundle/notify/notify.sock", "run/host.sock")
    path = container.root / "run" / "host.sock"
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    container.on_close(manager.close)
    if host == "there":
        manager.bind(str(path))
        manager.setblocking(False)
    launch(container, ":", "--sdnotify-socket", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
        connect(speaker, container.bundle / "notify" / "notify.sock")
        for number in range(20_000):
            speaker.send(b"STATUS=%d " % number + b"x" * 1000)
            if host == "there" and number % 5 == 0:
                take_all(manager)
        speaker.send(b"READY=1")
    if host == "away":
        manager.bind(str(path))
    manager.setblocking(True)
    manager.settimeout(TIMEOUT_S)
    while b"READY=1" not in manager.recv(65536).split(b"\n"):
        pass
    start(container)
    end_small(container)


def take_all(manager: socket.socket) -> None:
    try:
        while manager.recv(65536):
            pass
    except BlockingIOError:
        return


def test_flood_on_ctl(container: Container) -> None:
    """Figures: a megabyte of resizes, garbage and endless lines through both fifos."""
    with_terminal(container)
    launch(container, ":")
    start(container)
    for name in ("ctl", "winsz"):
        control(container, b"1 20 30\nwhat is this\n7 7 7\n" * 40_000, name)
        control(container, b"x" * 200_000 + b"\n", name)
        wait_taken(container.bundle / name)
    control(container, b"1 24 80\n")
    wait_size(container, 24, 80)
    end_small(container)


def test_flood_of_reopens(container: Container) -> None:
    """Figures: a thousand requests to reopen the log; those that wait together are met as one."""
    launch(container, "echo one")
    for _ in range(1000):
        control(container, b"2 0 0\n")
    wait_taken(container.bundle / "ctl")
    start(container)
    wait_counters(container, lambda counters: 0 < counters["reopens"] <= 1000)
    container.wait_log(b" F one\n")
    end_small(container)
