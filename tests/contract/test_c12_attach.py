"""C12: the attach socket: output to clients, input from them."""

from __future__ import annotations

import socket

import pytest
from harness import Container
from harness_attach import AttachClient, connect
from harness_os import Event

MEGABYTE = bytes(range(251)) * 4178  # 1,048,678 bytes that betray a shift


def launch_held(container: Container, command: str, *options: str) -> AttachClient:
    """A container that waits at its start, and a client attached to it."""
    container.fifo("start")
    container.command(command)
    container.launch(*options)
    container.started()
    return container.attach()


def start(container: Container) -> None:
    container.open_fifo(container.bundle / "start")


def test_output_has_its_stream(container: Container) -> None:
    """C12.3: a packet is one byte of stream, 2 for stdout and 3 for stderr, and data."""
    client = launch_held(container, "echo out; echo err >&2")
    start(container)
    client.read_all()
    assert sorted(client.packets) == [b"\x02out\n", b"\x03err\n"]
    assert container.end() == 0


def test_much_output_in_packets_that_clients_can_take(container: Container) -> None:
    """C12.3, D3: no packet is over 8193 bytes (the client checks), and nothing is lost."""
    container.put("data", MEGABYTE)
    client = launch_held(container, "cat data; cat data >&2")
    start(container)
    assert client.read_all() == MEGABYTE
    assert client.stream(3) == MEGABYTE
    assert container.end() == 0


def test_unfinished_lines_come_at_once(container: Container) -> None:
    """C12.3: a prompt without a newline is not held back."""
    container.fifo("go")
    client = launch_held(container, "printf 'name? '; read -r _ <go; echo thanks")
    start(container)
    client.read_until(b"name? ")
    container.open_fifo(container.bundle / "go")
    assert client.read_all() == b"name? thanks\n"
    assert container.end() == 0


def test_log_precedes_clients(container: Container) -> None:
    """C12.3: what a client has got is in the log already."""
    container.fifo("go")
    client = launch_held(container, "echo logged; read -r _ <go")
    start(container)
    client.read_until(b"logged\n")
    assert container.log.read_bytes().endswith(b" stdout F logged\n")
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


def test_two_clients(container: Container) -> None:
    """C12.3: all clients get all output."""
    first = launch_held(container, "echo for all")
    second = container.attach()
    start(container)
    assert first.read_all() == second.read_all() == b"for all\n"
    assert container.end() == 0


def test_client_that_leaves(container: Container) -> None:
    """C12.5: a client that is gone is no concern of the others."""
    container.fifo("go")
    leaver = launch_held(container, "echo one; read -r _ <go; echo two; read -r _ <go; echo three")
    stayer = container.attach()
    start(container)
    leaver.read_until(b"one\n")
    leaver.close()
    for _ in range(2):
        container.open_fifo(container.bundle / "go")
    assert stayer.read_all() == b"one\ntwo\nthree\n"
    assert container.end() == 0


def test_end_of_file_precedes_the_exit_files(container: Container) -> None:
    """C12.6, C17.7: clients have seen end of file when the first exit file appears."""
    client = launch_held(container, "echo bye; exit 3")
    start(container)
    container.wait_until(container.exit_file_begun, "an exit file")
    assert client.at_end()
    assert client.stream(2) == b"bye\n"
    assert container.end() == 3


def test_stdin(container: Container) -> None:
    """C12.4: with -i what clients send is the container's stdin; their EOF is its EOF."""
    client = launch_held(container, "cat", "-i")
    start(container)
    client.send(b"hello ")
    client.send(b"world\n")
    client.end_input()
    assert client.read_all() == b"hello world\n"
    assert container.end() == 0


def test_empty_packet_is_end_of_file(container: Container) -> None:
    """C12.4: a packet of no bytes ends the input."""
    client = launch_held(container, "cat", "-i")
    start(container)
    client.send(b"all\n")
    client.send(b"")
    assert client.read_all() == b"all\n"
    assert container.end() == 0


def test_stdin_before_the_start(container: Container) -> None:
    """C12.4: what is sent before the container process reads waits for it."""
    client = launch_held(container, "cat", "-i")
    client.send(b"early\n")
    client.end_input()
    start(container)
    assert client.read_all() == b"early\n"
    assert container.end() == 0


def test_much_stdin_with_back_pressure(container: Container) -> None:
    """C12.4: 1 MB in packets of 32 KiB: conmon stops reading when the container does.

    Nothing is lost, and conmon does not store it: the client must feel that nobody reads.
    """
    container.record()
    container.fifo("go")
    client = launch_held(container, "read -r _ <go; exec cat >seen/input", "-i")
    start(container)
    packets = [MEGABYTE[at : at + 32768] for at in range(0, len(MEGABYTE), 32768)]
    sent = 0
    while sent < len(packets) and client.try_send(packets[sent]):
        sent += 1
    # The socket's buffer may have been full before conmon had its turn: wait for what it takes.
    while sent < len(packets) and client.room_within(0.2):
        sent += client.try_send(packets[sent])
    assert sent < len(packets), "1 MB was taken though nobody reads it"
    container.open_fifo(container.bundle / "go")
    for packet in packets[sent:]:
        client.send(packet)
    client.end_input()
    assert container.end() == 0
    assert (container.seen / "input").read_bytes() == MEGABYTE


def test_output_flows_while_stdin_is_full(container: Container) -> None:
    """C12.4: a container that does not read its stdin is still heard."""
    container.fifo("go")
    client = launch_held(container, "read -r _ <go; echo still here; read -r _ <go", "-i")
    start(container)
    while client.try_send(b"x" * 32768):
        pass
    container.open_fifo(container.bundle / "go")
    client.read_until(b"still here\n")
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


def test_first_end_of_input_closes_stdin_for_all(container: Container) -> None:
    """C12.5: without --leave-stdin-open the first client that ends its input ends stdin."""
    container.record()
    first = launch_held(container, "cat >seen/input", "-i")
    second = container.attach()
    start(container)
    second.send(b"second\n")
    container.wait_file(container.seen / "input")
    first.end_input()
    assert container.end() == 0
    assert (container.seen / "input").read_bytes() == b"second\n"


def test_leave_stdin_open(container: Container) -> None:
    """C12.5: with --leave-stdin-open a client may end its input and another one go on."""
    command = "read -r a; echo got $a; read -r b; echo got $b"
    first = launch_held(container, command, "-i", "--leave-stdin-open")
    start(container)
    first.send(b"one\n")
    first.end_input()
    first.read_until(b"got one\n")
    second = container.attach()
    second.send(b"two\n")
    second.read_until(b"got two\n")
    assert container.end() == 0


def test_output_after_end_of_input(container: Container) -> None:
    """C12.5: a client that has ended its input still gets output."""
    client = launch_held(container, "cat >/dev/null; echo after", "-i")
    start(container)
    client.end_input()
    assert client.read_all() == b"after\n"
    assert container.end() == 0


def test_input_without_i(container: Container) -> None:
    """C12.4: without -i there is nobody to send to; output is not disturbed by it."""
    client = launch_held(container, "cat; echo done")
    client.send(b"nobody reads this\n")
    start(container)
    assert client.read_all() == b"done\n"
    assert container.end() == 0


def test_through_the_socket_dir(container: Container) -> None:
    """C12.2, D2: CRI-O attaches through `<socket dir>/<cuuid>/attach`."""
    container.as_crio()
    client = launch_held(container, "cat", "-i")
    start(container)
    client.send(b"through the link\n")
    client.end_input()
    assert client.read_all() == b"through the link\n"
    assert container.end() == 0


def test_socket_is_of_packets(container: Container) -> None:
    """C12.1: the socket is SOCK_SEQPACKET: a stream client is refused."""
    launch_held(container, "exit 0")
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with stream, pytest.raises(OSError, match="Protocol wrong type"):
        connect(stream, container.bundle / "attach")
    start(container)
    assert container.end() == 0


def test_log_and_clients_get_the_same(container: Container) -> None:
    """C12.3: with log driver none clients are served all the same."""
    container.options["-l"] = "none"
    container.put("data", MEGABYTE)
    client = launch_held(container, "cat data")
    start(container)
    assert client.read_all() == MEGABYTE
    assert container.end() == 0
    assert Event("CREATE", "logs", "ctr.log") not in container.events


@pytest.mark.ours("input of one of the two may be lost")
def test_stdin_of_two_clients(container: Container) -> None:
    """C12.4: with back-pressure, nothing that either of two clients sends is lost."""
    count, size = 6, 10_000  # each alone fills the pipe of the container's stdin
    first = launch_held(container, f"head -c {2 * count * size} | wc -c", "-i")
    second = container.attach()
    for _ in range(count):
        first.send(bytes(size))
        second.send(bytes(size))
    start(container)
    container.wait_log(b" stdout F %d\n" % (2 * count * size))
    assert container.end() == 0
