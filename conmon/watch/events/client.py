"""The notifier's side of its helper process."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

from conmon.watch.events.link import Decoder, Message, encode, receive

# The helper imports this very package; the directory that it is in.
_PACKAGES = str(Path(__file__).resolve().parents[3])
_START_S = 30.0
#: how long `close()` waits, s
CLOSE_S = 5.0


class Client:
    """One helper process, started and ready. OSError if it cannot watch as `settings` say."""

    def __init__(self, settings: Message) -> None:
        self._decoder = Decoder()
        #: the runtimes that it watched when it was ready
        self.runtimes: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._stream, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-P",
                        "-m",
                        "conmon.watch.events.helper",
                        str(theirs.fileno()),
                    ],
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, "PYTHONPATH": _PACKAGES},
                    stdin=subprocess.DEVNULL,
                    # a session of its own: Ctrl-C and Ctrl-Z are not for it
                    start_new_session=True,
                )
            self._ahead = self._begin(settings)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the helper process."""
        return self._process.pid

    def send(self, message: Message) -> None:
        """Send a message; none arrives at a helper that has ended. Any thread may."""
        try:
            with self._lock:
                self._stream.sendall(encode(message), socket.MSG_NOSIGNAL)
        except OSError:
            pass

    def receive(self) -> list[Message] | None:
        """Wait for messages; None when the helper has ended."""
        if self._ahead:
            messages, self._ahead = self._ahead, []
            return messages
        try:
            return receive(self._stream, self._decoder)
        except OSError:
            return None  # closed

    def is_alive(self) -> bool:
        """Whether the helper was there just now, with all that it holds."""
        poll = select.poll()
        poll.register(self._stream, 0)
        return not poll.poll(0)

    def hang_up(self) -> None:
        """Make `receive()` return None, and the helper end."""
        try:
            self._stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """End the helper."""
        self._stream.close()
        if hasattr(self, "_process"):
            try:
                self._process.wait(CLOSE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _begin(self, settings: Message) -> list[Message]:
        """Wait until the helper is ready; the messages that came with it."""
        self._stream.sendall(encode(settings), socket.MSG_NOSIGNAL)
        self._stream.settimeout(_START_S)
        messages: list[Message] = []
        while not any(message["kind"] == "ready" for message in messages):
            got = receive(self._stream, self._decoder)
            if got is None:
                raise OSError(f"The helper process has ended with {self._process.wait(CLOSE_S)}")
            messages += got
            for message in got:
                if message["kind"] == "ready":
                    self.runtimes = tuple(message["runtimes"])
                if message["kind"] == "failed":
                    raise OSError(message["errno"], message["text"])
        self._stream.settimeout(None)
        return messages
