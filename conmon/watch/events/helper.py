"""The helper process of a ContainerNotifier: it watches, and speaks to the notifier only.

It is a process of its own for the sake of those that it holds. A notifier that is stopped, stuck
or gone lets nobody wait longer than the time that was agreed on; and a callback may itself execute
a runtime. Should the helper stand still, a timer of the kernel kills it, and the kernel lets go
whoever it held.

    python -m conmon.watch.events.helper FD

FD is its end of a stream socket. The first message that it reads has its settings. Its own
messages are `ready` with the runtimes that it watches, or `failed` with `errno` and `text`;
`event`; `counters`; `runtimes`; `log`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Iterator

from conmon.host.place import Place
from conmon.watch.events import running
from conmon.watch.events.containers import Containers
from conmon.watch.events.deadman import DeadMan
from conmon.watch.events.ends import Ends
from conmon.watch.events.fanotify import Group
from conmon.watch.events.holder import Holder
from conmon.watch.events.holds import Hold
from conmon.watch.events.link import Decoder, Message, Outbox, receive
from conmon.watch.events.loop import Loop
from conmon.watch.events.marks import Marks
from conmon.watch.events.observer import Observer
from conmon.watch.events.report import Reporter

# containers of a scan in one round
_SCAN = 8
# How long it may stand still, unless it is to be killed: a busy machine may keep it from running.
_STILL_NS = 3_000_000_000


class LinkHandler(logging.Handler):
    """Sends log records to the notifier."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        text = self.format(record)
        self._outbox.send({"kind": "log", "level": record.levelno, "text": text})


class Helper:
    """One helper at work. OSError if it cannot watch as it was told to."""

    def __init__(self, stream: socket.socket, outbox: Outbox, settings: Message) -> None:
        self._stream = stream
        self._decoder = Decoder()
        self._outbox = outbox
        self._settings = settings
        self._counters: Message = {}
        self._dead_man: DeadMan | None = None
        self._holder: Holder | None = None
        self._marks: Marks | None = None
        self._paths: list[str] = []
        self._loop = Loop(self._before_round, _STILL_NS // 4)
        self._reporter = Reporter(outbox)
        holds = settings["mode"] == "hold"
        self._containers = Containers(Ends(self._loop, privileged=holds), self._reporter)
        self._events = select.EPOLLIN
        self._loop.watch(stream.fileno(), self._on_stream, self._events)
        # a process that the notifier forked may keep its end of the stream open
        self._loop.watch(os.pidfd_open(os.getppid()), lambda _: self._loop.stop())
        for fields in settings["known"]:
            self._containers.resume(fields)
        place, roots = Place(settings["root"], "/"), settings["state_roots"]
        if holds:
            with contextlib.suppress(PermissionError):
                os.setgroups([])  # a group of ours must give no rights to who names us a path
            self._dead_man = DeadMan(_STILL_NS)
            self._hold()
        else:
            Observer(self._loop, place, roots, self._appeared)
        self._scan(itertools.chain(running.scan_monitors(), running.scan(place, roots)))

    def run(self) -> None:
        """Serve until the notifier is gone."""
        self._paths = self._marks.paths if self._marks is not None else []
        self._outbox.send({"kind": "ready", "runtimes": self._paths})
        self._loop.run()

    def _hold(self) -> None:
        group = Group()
        self._holder = Holder(
            self._loop,
            group,
            self._containers,
            self._reporter,
            timeout_ns=self._settings["timeout_ns"],
            pre_create=self._settings["pre_create"],
        )
        paths = self._settings["runtime_paths"]
        self._marks = Marks(self._loop, group, self._settings["root"], paths)

    def _scan(self, found: Iterator[running.Running]) -> None:
        """Take what is there already, little by little: others are held meanwhile."""
        some = list(itertools.islice(found, _SCAN))
        for one in some:
            self._appeared(one)
        if some:
            self._loop.at(time.monotonic_ns(), lambda: self._scan(found))

    def _appeared(self, found: running.Running) -> None:
        """Take a container that was not seen to begin."""
        is_new = self._containers.get(found.pid, found.start_time) is None
        if is_new and found.start_time >= self._settings["since"]:
            self._containers.add(found.fields, found.config, Hold(0, 0))

    def _before_round(self) -> None:
        if self._dead_man is not None:
            self._dead_man.alive()
        holder = self._holder
        counters = {
            "lost": self._reporter.lost,
            "expired": holder.holds.expired if holder else 0,
            "unread": holder.unread if holder else 0,
        }
        if counters != self._counters:
            self._counters = counters
            self._outbox.send({"kind": "counters", **counters})
        if self._marks is not None and self._marks.paths != self._paths:
            self._paths = self._marks.paths
            self._outbox.send({"kind": "runtimes", "paths": self._paths})
        events = select.EPOLLIN | (select.EPOLLOUT if len(self._outbox) else 0)
        if events != self._events:
            self._events = events
            self._loop.watch(self._stream.fileno(), self._on_stream, events)

    def _on_stream(self, _: int) -> None:
        self._outbox.flush()
        messages = receive(self._stream, self._decoder)
        if messages is None:
            self._loop.stop()
            return
        for message in messages:
            if message["kind"] == "watch":
                self._containers.resume(message["fields"])
            elif self._holder is not None:
                self._holder.holds.answered(message["hold"])


def main(fd: int) -> int:
    """Serve the notifier at the other end of `fd`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:  # each container takes an fd, and each thread that is held
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    stream = socket.socket(fileno=fd)
    decoder = Decoder()
    messages: list[Message] | None = []
    while not messages:
        messages = receive(stream, decoder)
        if messages is None:
            return 1
    stream.setblocking(False)
    outbox = Outbox(stream)
    logging.basicConfig(level=messages[0]["log_level"], handlers=[LinkHandler(outbox)])
    try:
        helper = Helper(stream, outbox, messages[0])
    except OSError as error:
        outbox.send({"kind": "failed", "errno": error.errno, "text": str(error)})
        return 1
    helper.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
