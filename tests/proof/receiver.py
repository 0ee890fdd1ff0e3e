"""A journal that is busy, goes away and comes again: the native protocol's receiving end.

Format: systemd.io/JOURNAL_NATIVE_PROTOCOL. One datagram is one entry; a field is `NAME=VALUE\\n`,
or `NAME\\n`, 8 bytes of size, little-endian, VALUE, `\\n`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from harness_os import is_readable

from .check import Piece

STREAM = {b"6": "stdout", b"3": "stderr"}


def fields(datagram: bytes) -> dict[bytes, bytes]:
    """The fields of one entry. What comes behind an empty line is no part of it."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(datagram):
        end = datagram.index(b"\n", at)
        name, equals, value = datagram[at:end].partition(b"=")
        at = end + 1
        if not name:
            break  # systemd before 257 takes what follows for one entry more
        if not equals:
            size = int.from_bytes(datagram[at : at + 8], "little")
            value = datagram[at + 8 : at + 8 + size]
            at += 8 + size + 1
        found[name] = value
    return found


class Receiver:
    """Takes entries at `path`, when it is told to, and keeps what each one carried."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: list[dict[bytes, bytes]] = []
        self._awake = True
        self._socket: socket.socket | None = None
        self.start()

    def start(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))

    @property
    def wants(self) -> bool:
        """Whether it takes anything now."""
        return self._awake and self._socket is not None

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def take(self) -> None:
        """Take what is there."""
        while self._socket is not None and is_readable(self._socket.fileno()):
            self._take_one(self._socket)

    def _take_one(self, here: socket.socket) -> None:
        data, fds, _, _ = socket.recv_fds(here, 1 << 20, 8)
        for fd in fds:  # an entry too large for a datagram
            data = os.pread(fd, os.fstat(fd).st_size, 0)
            os.close(fd)
        self.entries.append(fields(data))

    def stop(self) -> None:
        """Take everything, and go. Nobody may send meanwhile, or it is lost with the socket."""
        self.take()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def toggle(self, quietly: Callable[[Callable[[], None]], object]) -> None:
        """Go, while nobody sends (`quietly`); or come again."""
        if self._socket is None:
            self.start()
        else:
            quietly(self.stop)

    def rest(self) -> None:
        """Take nothing for a while; or go on."""
        self._awake = not self._awake

    def pieces(self) -> list[Piece]:
        """What the entries carried."""
        return [Piece(STREAM[one[b"PRIORITY"]], one[b"MESSAGE"]) for one in self.entries]

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
