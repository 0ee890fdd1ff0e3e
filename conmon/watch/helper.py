"""The helper process of a ContainerNotifier: it watches, and speaks to the notifier only.

It is a process of its own for the sake of those that it holds. A notifier that is stopped, stuck
or gone lets nobody wait longer than the time that was agreed on; and a callback may itself execute
a runtime. Should the helper stand still, a timer of the kernel kills it, and the kernel lets go
whoever it held.

    python -m conmon.watch.helper FD

FD is its end of a stream socket. The first message that it reads has its settings. Its own
messages are: `ready`; `failed` with `text`; `event`; `lost` with a `count`; `log`.
"""

from __future__ import annotations

import logging
import os
import resource
import select
import socket
import sys
from typing import Any

from conmon.watch import fanotify
from conmon.watch.deadman import DeadMan
from conmon.watch.ends import Ends
from conmon.watch.holder import Holder
from conmon.watch.link import Decoder, Message, Outbox, receive
from conmon.watch.loop import Loop
from conmon.watch.report import Reporter

_S = 10**9


class LinkHandler(logging.Handler):
    """Sends log records to the notifier."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        text = self.format(record)
        self._outbox.send({"kind": "log", "level": record.levelno, "text": text})


class Helper:
    """One helper at work."""

    def __init__(self, stream: socket.socket, settings: dict[str, Any]) -> None:
        self._stream = stream
        self._decoder = Decoder()
        self._outbox = Outbox(stream)
        timeout_ns: int = settings["timeout_ns"]
        dead_man = DeadMan(max(timeout_ns, _S))
        self._loop = Loop(self._before_round(dead_man), max(timeout_ns, _S) // 4)
        reporter = Reporter(self._outbox)
        group = fanotify.Group()
        for path in settings["runtime_paths"]:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                group.mark(fd)
            finally:
                os.close(fd)
        self._holder = Holder(
            self._loop,
            group,
            Ends(self._loop, privileged=True),
            reporter,
            timeout_ns=timeout_ns,
            pre_create=settings["pre_create"],
        )
        self._loop.watch(stream.fileno(), self._on_stream)

    def run(self) -> None:
        """Serve until the notifier is gone."""
        self._outbox.send({"kind": "ready"})
        self._loop.run()

    def _before_round(self, dead_man: DeadMan) -> Any:
        def alive() -> None:
            dead_man.alive()
            events = select.EPOLLIN | (select.EPOLLOUT if len(self._outbox) else 0)
            self._loop.watch(self._stream.fileno(), self._on_stream, events)

        return alive

    def _on_stream(self, _: int) -> None:
        self._outbox.flush()
        messages = receive(self._stream, self._decoder)
        if messages is None:
            self._loop.stop()
            return
        for message in messages:
            self._on_message(message)

    def _on_message(self, message: Message) -> None:
        if message["kind"] == "done":
            self._holder.holds.answered(message["hold"])


def main(fd: int) -> int:
    """Serve the notifier at the other end of `fd`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stream = socket.socket(fileno=fd)
    decoder = Decoder()
    messages = None
    while not messages:
        messages = receive(stream, decoder)
        if messages is None:
            return 1
    stream.setblocking(False)
    Helper(stream, messages[0]).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
