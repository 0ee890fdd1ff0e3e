"""A /dev/log of the test's own: hears what conmon says with --syslog (CONTRACT C3).

conmon runs in a private mount namespace, whose /dev is the machine's with this socket laid over
it. That needs root.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass

import pytest
from harness import Container
from harness_os import TIMEOUT_S, Deadline, wait_fd

#: RFC 3164 as glibc's syslog(3) writes it.
FORMAT = re.compile(
    rb"<(?P<priority>\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (?P<ident>[^ :]+): (?P<text>.*)",
    re.DOTALL,
)

_MOUNT = """
mount --rbind /dev "$0/dev" &&
mount -t overlay overlay -o "lowerdir=/dev,upperdir=$0/upper,workdir=$0/work" /dev &&
mount --rbind "$0/dev/pts" /dev/pts && mount --bind "$0/socket" /dev/log && exec "$@"
"""


@dataclass(frozen=True)
class Message:
    priority: int  # facility and severity: 8 * 1 (user) + 3 (error) or 6 (info)
    ident: bytes
    text: bytes


class Syslog:
    """Listens. `wrapper` is what a conmon that is to be heard must be launched with."""

    def __init__(self, container: Container, kind: int = socket.SOCK_DGRAM) -> None:
        if os.getuid() != 0:
            why = "only root may mount a /dev/log"
            if "CI" in os.environ:
                pytest.fail(why)
            pytest.skip(why)
        root = container.root / "syslog"
        for name in ("dev", "upper", "work"):
            (root / name).mkdir(parents=True)
        (root / "upper" / "log").touch()  # to mount the socket on
        self._socket = socket.socket(socket.AF_UNIX, kind)
        directory = os.open(root, os.O_PATH | os.O_CLOEXEC)
        self._socket.bind(f"/proc/self/fd/{directory}/socket")
        os.close(directory)
        if kind == socket.SOCK_STREAM:
            self._socket.listen()
        container.on_close(self._socket.close)
        container.allow("syslog/upper/log", "syslog/socket")
        self.wrapper = [
            *("unshare", "--mount", "--propagation", "private"),
            *("/bin/sh", "-c", _MOUNT, str(root)),
        ]

    def next(self, seconds: float = TIMEOUT_S) -> Message:
        """The next message."""
        assert wait_fd(self._socket.fileno(), Deadline(seconds)), "nothing on syslog"
        data = self._receive()
        match = FORMAT.fullmatch(data)
        assert match, f"no syslog message: {data!r}"
        return Message(int(match["priority"]), match["ident"], match["text"])

    def _receive(self) -> bytes:
        if self._socket.type == socket.SOCK_DGRAM:
            return self._socket.recv(8192)
        connection, _ = self._socket.accept()
        with connection, connection.makefile("rb") as file:
            data = file.read()
        assert data.endswith(b"\0")
        return data[:-1]

    def until(self, text: bytes) -> Message:
        """The first message from now on that has `text` in it; those before are dropped."""
        heard: list[bytes] = []
        deadline = Deadline()
        while not deadline.passed():
            message = self.next(deadline.left_ms() / 1000)
            if text in message.text:
                return message
            heard.append(message.text)
        raise AssertionError(f"{text!r} was not said, but {heard}")
