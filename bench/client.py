"""An attach client that takes everything with as little work as can be: recvmmsg(2)."""

from __future__ import annotations

import ctypes
import os
import socket
import time
from pathlib import Path

from bench.container import TIMEOUT_S, BenchError, Container
from bench.kernel import libc

AT_ONCE = 64
PACKET_BYTES = 8193  # a byte that names the stream, and what conmon reads at once at most
_MSG_WAITFORONE = 0x10000


class _Part(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr, and behind it what recvmmsg adds: the bytes received."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.POINTER(_Part)),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_int),
        ("received", ctypes.c_uint),
    )


class Client:
    """One connected client."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Through a fd: an address holds 107 bytes only.
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            self._socket.connect(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        self._buffers = ctypes.create_string_buffer(AT_ONCE * PACKET_BYTES)
        start = ctypes.addressof(self._buffers)
        self._parts = (_Part * AT_ONCE)()
        for number, part in enumerate(self._parts):
            part.base, part.length = start + number * PACKET_BYTES, PACKET_BYTES
        self._headers = (_Header * AT_ONCE)()
        for header, part in zip(self._headers, self._parts, strict=True):
            header.parts = ctypes.pointer(part)
            header.part_count = 1

    def drain(self) -> int:
        """Read to the end: how many bytes of container output came."""
        count = 0
        while True:
            got = libc.recvmmsg(
                self._socket.fileno(), self._headers, AT_ONCE, _MSG_WAITFORONE, None
            )
            if got < 0:
                number = ctypes.get_errno()
                raise BenchError(f"the client reads: {os.strerror(number)}")
            for header in self._headers[:got]:
                if header.received == 0:
                    return count
                count += header.received - 1

    def close(self) -> None:
        self._socket.close()


def attach(container: Container) -> Client:
    """Connect a client, and wait until conmon has accepted it: it misses nothing from then on."""
    before = _sockets(container.monitor)
    client = Client(container.socket)
    end = time.monotonic() + TIMEOUT_S
    while _sockets(container.monitor) == before:
        if time.monotonic() > end:
            raise BenchError("conmon does not accept a client")
        time.sleep(0.001)
    container.settle()
    return client


def _sockets(pid: int) -> set[str]:
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{name}")
        if target.startswith("socket:"):
            found.add(target)
    return found
