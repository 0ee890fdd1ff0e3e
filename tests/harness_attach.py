"""A client of the attach socket, as podman and CRI-O connect to it (CONTRACT C12, D1, D2)."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

from harness_os import TIMEOUT_S, Deadline, wait_fd

#: Clients read with a buffer of this size: a larger packet would lose its end.
PACKET_MAX = 8193


def connect(client: socket.socket, path: Path) -> None:
    """Connect to a socket file through /proc/self/fd: an address holds 107 bytes only."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        client.connect(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


class AttachClient:
    """One connected client. Packets out: 1 byte of stream (2 stdout, 3 stderr), then data."""

    def __init__(self, path: Path) -> None:
        self.packets: list[bytes] = []
        self.was_reset = False  # by a monitor that closed with input unread: C21.1
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        connect(self._socket, path)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read_packet(self, seconds: float = TIMEOUT_S) -> bytes:
        """The next packet, `b""` at end of file. Larger than PACKET_MAX is an error."""
        if not wait_fd(self.fileno(), Deadline(seconds)):
            raise AssertionError(f"no packet on the attach socket within {seconds} s")
        try:
            packet = self._socket.recv(65536)
        except ConnectionResetError:
            self.was_reset = True
            return b""
        assert len(packet) <= PACKET_MAX, f"packet of {len(packet)} bytes"
        if packet:
            self.packets.append(packet)
        return packet

    def read_until(self, data: bytes, stream: int = 2) -> None:
        """Read packets until `stream` has carried `data`."""
        deadline = Deadline()
        while data not in self.stream(stream):
            if not self.read_packet(deadline.left_ms() / 1000):
                raise AssertionError(f"end of file before {data!r}: {self.packets[-5:]}")

    def read_all(self) -> bytes:
        """Read until end of file: everything that came on stdout."""
        deadline = Deadline()
        while self.read_packet(deadline.left_ms() / 1000):
            pass
        return self.stream(2)

    def at_end(self) -> bool:
        """True when end of file has been reached already. Reads what is there, does not wait."""
        while True:
            try:
                packet = self._socket.recv(65536)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                self.was_reset = True
                return True
            if not packet:
                return True
            self.packets.append(packet)

    def stream(self, number: int) -> bytes:
        return b"".join(packet[1:] for packet in self.packets if packet[0] == number)

    def send(self, data: bytes) -> None:
        """Send one packet, waiting for room."""
        if self.try_send(data):
            return
        deadline = Deadline()
        while wait_fd(self.fileno(), deadline, select.POLLOUT):
            if self.try_send(data):
                return
        raise AssertionError("no room to send to the attach socket")

    def try_send(self, data: bytes) -> bool:
        """Send one packet if there is room for it now."""
        try:
            self._socket.send(data)
        except BlockingIOError:
            return False
        return True

    def room_within(self, seconds: float) -> bool:
        """True as soon as there is room for a packet; False when there is none for so long."""
        return wait_fd(self.fileno(), Deadline(seconds), select.POLLOUT)

    def end_input(self) -> None:
        """Say that no more input comes; output is still read."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()
