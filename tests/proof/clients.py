"""Attach clients of every kind: they come, send, stall, half-close, die; and what they got."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness_attach import PACKET_MAX, connect
from harness_os import Deadline, wait_fd

from .check import Piece

KINDS = ("reader", "slow", "sender", "half-closer", "dier")
STREAMS = {2: "stdout", 3: "stderr"}
READS = 16  # packets at a time


class Client:
    """One attach client, of a kind. `first`: it was there before the container wrote anything."""

    def __init__(self, path: Path, number: int, kind: str, first: bool) -> None:
        self.number = number
        self.kind = kind
        self.first = first
        self.pieces: list[Piece] = []
        self.sent = 0  # lines
        self.reading = kind != "slow"
        self.open = True
        self.ended = ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        connect(self._socket, path)

    def __repr__(self) -> str:
        return f"client {self.number} ({self.kind}{', first' if self.first else ''})"

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def wants(self) -> bool:
        """Whether it reads now."""
        return self.open and self.reading and not self.ended

    def read(self) -> None:
        """Some packets, if there are any. A reset is no end: it may have taken output with it."""
        for _ in range(READS):
            try:
                packet = self._socket.recv(65536)
            except BlockingIOError:
                return
            except ConnectionResetError:
                self.ended = "reset"
                return
            if not packet:
                self.ended = "end of file"
                return
            assert len(packet) <= PACKET_MAX, f"{self!r} got a packet of {len(packet)} bytes"
            self.pieces.append(Piece(STREAMS[packet[0]], packet[1:]))

    def read_rest(self) -> None:
        """Read to the end."""
        self.reading = True
        deadline = Deadline()
        while self.wants:
            assert wait_fd(self.fileno(), deadline), f"{self!r} gets no end of file"
            self.read()

    def act(self, choice: random.Random) -> None:
        """Do what its kind does now and then."""
        if not self.open or self.ended:
            return
        if self.kind == "slow":
            self.reading = not self.reading
        elif self.kind == "sender":
            self.send(choice.randrange(1, 40), choice.randrange(1, 2000))
        elif self.kind == "half-closer":
            self.send(1, 10)
            self.end_input()
        elif self.kind == "dier":
            self.send(2, 100)
            self.close()

    def send(self, lines: int, size: int) -> None:
        """Send numbered lines of input, a packet each, until there is no room."""
        for _ in range(lines):
            head = b"i%d %d " % (self.number, self.sent)
            line = head.ljust(size, b".")[: PACKET_MAX - 2] + b"\n"
            if not self._try(partial(self._socket.send, line)):
                return
            self.sent += 1

    def end_input(self) -> None:
        """Say that no more input comes."""
        self._try(partial(self._socket.shutdown, socket.SHUT_WR))

    @staticmethod
    def _try(action: Callable[[], object]) -> bool:
        """False when there is no room, or nobody there any more."""
        try:
            action()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self.open = False
        self._socket.close()


def check_input(received: bytes, clients: list[Client]) -> None:
    """The container's input: of each client the first lines that it sent, whole, in order."""
    seen: dict[int, int] = {}
    *lines, _ = received.split(b"\n")  # what is behind the last newline came as it ended
    for line in lines:
        head, number, _ = line.split(b" ", 2)
        client = int(head.removeprefix(b"i"))
        assert int(number) == seen.get(client, 0), f"input of client {client}: {line[:60]!r}"
        seen[client] = int(number) + 1
    sent = {client.number: client.sent for client in clients}
    assert all(count <= sent[client] for client, count in seen.items()), (seen, sent)
