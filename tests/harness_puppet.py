"""The master of a container process that does what it is told (standin/puppet)."""

from __future__ import annotations

import socket
import sys

from harness import Container
from harness_attach import connect
from harness_os import TIMEOUT_S
from harness_rooms import STANDIN


class Puppet:
    #: The container's command, up to the socket's path. Without site: that takes half the time.
    PROGRAM = f"{sys.executable} -I -S {STANDIN / 'puppet'}"

    def __init__(self, container: Container) -> None:
        """Wait until the container process listens at `puppet` in the bundle."""
        container.wait_name(container.bundle / "puppet")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(TIMEOUT_S)
        connect(self._socket, container.bundle / "puppet")

    def _ask(self, request: bytes) -> bytes:
        self._socket.send(request)
        return self._socket.recv(1 << 17)

    def write(self, stream: int, data: bytes) -> int:
        """Write to stdout (2) or stderr (3): how many bytes the pipe took."""
        return int(self._ask((b"o" if stream == 2 else b"e") + data))

    def read(self) -> bytes | None:
        """What is in stdin now; None at its end."""
        answer = self._ask(b"i")
        return None if answer == b"." else answer[1:]

    def terms(self) -> int:
        """How often SIGTERM has come."""
        return int(self._ask(b"s"))

    def quit(self, code: int) -> None:
        self._socket.send(b"q%d" % code)

    def close(self) -> None:
        self._socket.close()
