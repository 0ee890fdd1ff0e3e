"""Messages between a notifier and its helper process: JSON objects over a stream socket.

A message is its length, four bytes with the lowest first, and that many bytes of JSON. It is sent
with MSG_NOSIGNAL: the notifier's process may be one that SIGPIPE ends.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

Message = dict[str, Any]

_LENGTH = struct.Struct("<I")
_READ_SIZE = 1 << 16


class Decoder:
    """Takes messages out of a stream."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with `data`."""
        self._data += data
        found: list[Message] = []
        start = 0
        while len(self._data) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data, start)
            end = start + _LENGTH.size + length
            if end > len(self._data):
                break
            found.append(json.loads(self._data[start + _LENGTH.size : end]))
            start = end
        del self._data[:start]
        return found


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    text = json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(text)) + text


def receive(stream: socket.socket, decoder: Decoder) -> list[Message] | None:
    """Read once: the messages that are complete now; None at the end of the stream."""
    try:
        data = stream.recv(_READ_SIZE)
    except BlockingIOError:
        return []
    except ConnectionError:
        return None
    return decoder.feed(data) if data else None


class Outbox:
    """Sends without waiting for the other side; what does not fit into the socket is kept."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._data = bytearray()

    def __len__(self) -> int:
        """Bytes that wait."""
        return len(self._data)

    def send(self, message: Message) -> None:
        """Send, or keep. A stream whose other side is gone takes everything silently."""
        self._data += encode(message)
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes."""
        try:
            while self._data:
                del self._data[: self._stream.send(self._data, socket.MSG_NOSIGNAL)]
        except BlockingIOError:
            pass
        except ConnectionError:
            self._data.clear()
