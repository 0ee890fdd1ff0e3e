"""Scenarios of clients: attach, stdin, terminals, ctl and winsz, notifications."""

from __future__ import annotations

import socket
from collections.abc import Callable

from differential.stage import Scenario, Stage
from harness_attach import connect
from harness_os import Deadline, wait_fd
from harness_terminal import control, size, wait_size, with_terminal

SCENARIOS: list[Scenario] = []
Play = Callable[[Stage], None]


def scenario(what: str, peer_stays: bool = False) -> Callable[[Play], Play]:
    """Put a function into the table, under its name."""

    def add(play: Play) -> Play:
        SCENARIOS.append(Scenario(play.__name__.replace("_", " "), what, play, peer_stays))
        return play

    return add


def held(stage: Stage, command: str, *options: str) -> None:
    """A container that waits at its start for the fifo `start`."""
    stage.container.fifo("start")
    stage.container.command(command)
    stage.launch(*options)
    stage.message()


@scenario("A client gets stdout and stderr, each packet with its stream.")
def attach(stage: Stage) -> None:
    held(stage, "echo out; echo err >&2; echo out2; exit 3")
    stage.attach()
    stage.open("start")
    stage.finish()


@scenario("Two clients.")
def attach_twice(stage: Stage) -> None:
    held(stage, "echo out; echo err >&2")
    stage.attach()
    stage.attach()
    stage.open("start")
    stage.finish()


@scenario("A client goes while the container writes.")
def client_leaves(stage: Stage) -> None:
    stage.container.fifo("go")
    held(stage, "echo one; read -r _ <go; echo two; read -r _ <go; echo three")
    leaver = stage.container.attach()
    stage.attach()
    stage.open("start")
    leaver.read_until(b"one\n")
    leaver.close()
    stage.open("go")
    stage.open("go")
    stage.finish()


@scenario("Input of a client, to its end.")
def stdin(stage: Stage) -> None:
    held(stage, "cat; echo end", "-i")
    client = stage.attach()
    client.send(b"hello ")
    client.send(b"world\n")
    client.end_input()
    stage.open("start")
    stage.finish()


@scenario("An empty packet is the end of input as well.")
def stdin_empty_packet(stage: Stage) -> None:
    held(stage, "cat; echo end", "-i")
    client = stage.attach()
    client.send(b"words\n")
    client.send(b"")
    stage.open("start")
    stage.finish()


@scenario("With --leave-stdin-open the next client goes on.")
def stdin_left_open(stage: Stage) -> None:
    held(stage, "read -r a; echo got $a; read -r b; echo got $b", "-i", "--leave-stdin-open")
    first = stage.attach()
    first.send(b"one\n")
    first.end_input()
    stage.open("start")
    first.read_until(b"got one\n")
    second = stage.attach()
    second.send(b"two\n")
    stage.finish()


@scenario("A megabyte in, and back to the client.")
def stdin_megabyte(stage: Stage) -> None:
    held(stage, "tr a b | cksum; exit 4", "-i")
    client = stage.attach()
    stage.open("start")
    for _ in range(32):
        client.send(b"a" * 32767 + b"\n")
    client.end_input()
    stage.finish()


@scenario("The path of the socket directory has 107 bytes, one more than clients can use.")
def socket_path_of_107_bytes(stage: Stage) -> None:
    container = stage.container
    container.as_crio()
    del container.options["-u"]
    directory = container.root / "sockets"
    container.options["-u"] = "u" * (107 - len(str(directory)) - 1)
    container.command("exit 3")
    stage.launch()
    stage.message()
    stage.finish()


# Terminals


@scenario("A terminal: one stream, newlines as CR LF, stderr too.")
def terminal(stage: Stage) -> None:
    with_terminal(stage.container)
    held(stage, "tty >/dev/null && echo out; echo err >&2; exit 3")
    stage.attach()
    stage.open("start")
    stage.finish()


@scenario("What is typed comes back as its echo.")
def terminal_input(stage: Stage) -> None:
    with_terminal(stage.container)
    held(stage, "read -r line; echo got $line")
    client = stage.attach()
    client.send(b"words\r")
    client.read_until(b"words\r\n")
    stage.open("start")
    stage.finish()


@scenario("Resizes through ctl and through winsz.")
def resize(stage: Stage) -> None:
    with_terminal(stage.container)
    held(stage, "exit 0")
    container = stage.container
    stage.notes["size"].append(f"at the start {size(container)}")
    control(container, b"1 24 80\n")
    wait_size(container, 24, 80)
    control(container, b"30 100\n", "winsz")
    wait_size(container, 30, 100)
    control(container, b"1 25 81 7\n")
    wait_size(container, 25, 81)
    stage.open("start")
    stage.finish()


def terminal_fails(how: str, what: str, *, fails: bool) -> None:
    """A runtime that does not hand a terminal over."""

    def play(stage: Stage) -> None:
        container = stage.container
        with_terminal(container)
        container.put("terminal", how)
        if fails:
            container.put("stderr", "boom")
            container.put("status", "1")
        stage.launch()
        stage.finish()

    name = f"terminal {how} and runtime {'fails' if fails else 'succeeds'}"
    SCENARIOS.append(Scenario(name, what, play))


terminal_fails("none", "The runtime fails before it makes a terminal.", fails=True)
terminal_fails("one", "The runtime fails after it has handed a terminal over.", fails=True)


# Notifications


def notified(name: str, what: str, message: bytes, last: bytes = b"READY=1") -> None:
    """The container speaks to the service manager; READY=1 is the last that it says."""

    def play(stage: Stage) -> None:
        container = stage.container
        (container.bundle / "notify").mkdir()
        host = str(container.root / "run" / "host.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(host)
            held(stage, "exit 0", "--sdnotify-socket", host)
            stage.look("while it runs")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
                connect(speaker, container.bundle / "notify" / "notify.sock")
                speaker.send(message)
                speaker.send(last)
            heard: list[str] = []
            while last.decode() not in heard:
                assert wait_fd(manager.fileno(), Deadline()), "no notification"
                heard += manager.recv(65536).decode().split("\n")
            stage.notes["service manager"] += heard
            stage.open("start")
            stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


notified("notify ready", "READY=1 is relayed.", b"MAINPID=1\nX=y\n")
notified("notify status", "Other lines that a service manager knows.", b"STATUS=half\nERRNO=2\n")
