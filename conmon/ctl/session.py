"""An attached session: this terminal's keys to the container, the container's output to it.

The attach socket takes input in packets without a frame, at most 32 KiB each, and end of file
as the end of input. Output comes in packets of one byte, 2 for stdout and 3 for stderr, and the
data behind it.
"""

from __future__ import annotations

import contextlib
import enum
import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Callable, Iterator

from conmon.ctl.keys import Matcher

_PACKET = 1 << 15
_STREAMS = {2: 1, 3: 2}


class Outcome(enum.Enum):
    """How a session ended."""

    DETACHED = enum.auto()
    CLOSED = enum.auto()  # by the monitor
    NO_READER = enum.auto()  # nobody takes our output any more


@contextlib.contextmanager
def raw_terminal(fd: int) -> Iterator[None]:
    """Every key as it comes, nothing echoed; as it was afterwards, whatever happens."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)  # what was typed ahead is not thrown away
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)


@contextlib.contextmanager
def _resizes() -> Iterator[socket.socket]:
    """A socket that is readable when this terminal has another size."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    before = {
        signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: None),
        # A reader that has gone must not end us before the terminal is as it was.
        signal.SIGPIPE: signal.signal(signal.SIGPIPE, signal.SIG_IGN),
    }
    old = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()


def _write(fd: int, data: memoryview) -> None:
    """Write all of it, also where another program has made the file non-blocking."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()


class Session:
    """One session on a connected attach socket.

    `send` is false if the container has no stdin: what is typed is then read for the detach keys
    only. `resized` is called when this terminal has another size.
    """

    def __init__(
        self, connection: socket.socket, matcher: Matcher, send: bool, resized: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._matcher = matcher
        self._send = send
        self._resized = resized
        self._pending = b""
        self._input_ended = False
        self._detached = False

    def run(self, stdin: int | None) -> Outcome:
        """Pass on until it ends. `stdin` None: no input. OSError of our output."""
        self._connection.setblocking(False)
        self._input_ended = stdin is None
        with _resizes() as resizes:
            while True:
                ready = self._wait(stdin, resizes)
                if resizes.fileno() in ready:
                    resizes.recv(1024)
                    self._resized()
                if self._connection.fileno() in ready:
                    try:
                        if not self._receive():
                            return Outcome.CLOSED
                    except BrokenPipeError:
                        return Outcome.NO_READER
                if stdin is not None and stdin in ready and not self._pending:
                    self._type(stdin)
                self._flush()
                if self._detached and not self._pending:
                    return Outcome.DETACHED

    def _wait(self, stdin: int | None, resizes: socket.socket) -> set[int]:
        poll = select.poll()
        poll.register(resizes, select.POLLIN)
        full = select.POLLOUT if self._pending else 0
        poll.register(self._connection, select.POLLIN | full)
        # What the container does not take yet is not read.
        if stdin is not None and not self._input_ended and not self._pending:
            poll.register(stdin, select.POLLIN)
        return {fd for fd, _ in poll.poll()}

    def _receive(self) -> bool:
        """Pass one packet on; False at the end."""
        try:
            packet = self._connection.recv(_PACKET)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        if not packet:
            return False
        fd = _STREAMS.get(packet[0])
        if fd is not None:
            _write(fd, memoryview(packet)[1:])
        return True

    def _type(self, stdin: int) -> None:
        """Read what was typed."""
        data = os.read(stdin, _PACKET)
        if not data:
            self._input_ended = True
            if self._send:
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_WR)
            return
        data, self._detached = self._matcher.feed(data)
        if self._send:
            self._pending = data

    def _flush(self) -> None:
        if not self._pending:
            return
        try:
            self._connection.send(self._pending)  # a packet is taken whole or not at all
        except BlockingIOError:
            return
        except OSError:
            self._send = False  # it takes no input any more; output may still come
        self._pending = b""


def terminal_size() -> tuple[int, int] | None:
    """Rows and columns of the terminal that stdin, stdout or stderr is; None without one."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        try:
            columns, rows = os.get_terminal_size(stream.fileno())
        except (OSError, ValueError):
            continue
        return rows, columns
    return None
