"""A netlink socket on which the kernel sends events to a multicast group."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

_SO_RCVBUFFORCE = 33


class EventSocket:
    """Messages of the kernel, and a count of what it had no room for.

    `room`: bytes of the largest message. `receive_buffer`: bytes to ask for; the kernel accounts
    twice as much. `needed`: what to say when it refuses us. Raises PermissionError with that.
    """

    def __init__(
        self, protocol: int, group: int, *, room: int, receive_buffer: int, needed: str
    ) -> None:
        self.overruns = 0
        self.received = 0
        self.buffer = bytearray(room)
        self.more = False
        self._overrun = False
        self._told = 0
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, protocol
        )
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            try:
                self._socket.bind((0, group))
            except PermissionError as error:
                raise PermissionError(error.errno, needed) from None
            self._socket.setblocking(False)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The socket, to wait on; -1 once it is closed."""
        return self._socket.fileno()

    @property
    def receive_buffer(self) -> int:
        """Bytes that the kernel lets wait for us."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def send(self, message: bytes) -> None:
        """Send a message to the kernel. OSError."""
        self._socket.send(message)

    def messages(self, limit: int) -> Iterator[int]:
        """Receive into `buffer` what has arrived, `limit` messages at most; the size of each.

        Afterwards `more` is True if there may be others. OSError.
        """
        receive, buffer = self._socket.recvfrom_into, self.buffer
        self.more = True
        for _ in range(limit):
            try:
                size, sender = receive(buffer)
            except BlockingIOError:
                self.more = False
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
                self._overrun = True
                continue
            if sender[0] == 0:  # of the kernel
                yield size

    @property
    def lost(self) -> int:
        """Events that are known to be lost."""
        raise NotImplementedError

    def take_loss(self) -> tuple[int, bool]:
        """How many more events are known to be lost, and if there was an overrun, since asked."""
        lost, self._told = self.lost - self._told, self.lost
        overrun, self._overrun = self._overrun, False
        return lost, overrun

    def forget_overruns(self) -> None:
        """From here on what is lost is missed."""
        self.overruns = 0
        self._overrun = False

    def close(self) -> None:
        """End the subscription."""
        self._socket.close()
