"""An attach client that takes what comes, and says how it ended."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from harness_attach import connect


class Client:
    """One connection; its end is noted, not raised."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self.out = b""
        #: Why nothing more comes; empty while something may.
        self.end = ""
        try:
            connect(self._socket, path)
        except OSError as error:
            self.end = f"connect: {os.strerror(error.errno or 0)}"

    def fileno(self) -> int:
        return self._socket.fileno()

    def take(self) -> None:
        """Read all that is there."""
        while not self.end:
            try:
                packet = self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError as error:
                self.end = os.strerror(error.errno or 0)
                return
            self.out += packet[1:]
            if not packet:
                self.end = "end of file"

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.send(data)
