"""One container that writes numbered lines, and everything that goes on around it."""

from __future__ import annotations

import os
import random
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness import Container
from harness_counters import decode_counters
from harness_os import Deadline

from .check import Piece, Streams, is_tail, joined, same, tail, without_echo
from .clients import KINDS, Client, check_input
from .receiver import Receiver

#: The longest that a round may take; not a measure of speed.
ROUND_S = 240

Action = Callable[[], object]


class Scene:
    """`container` is to run the generator; options and actions are added before `play()`."""

    def __init__(self, container: Container, choice: random.Random) -> None:
        self.container = container
        self.choice = choice
        self.said: list[str] = []  # what was chosen, for whoever reads of a failure
        self.clients: list[Client] = []
        self.actions: list[Action] = []
        self.socket = container.bundle / "attach"
        self.counters: dict[str, int] = {}  # at the end, if open_counters() was called
        self._memory = -1
        self.journal: Receiver | None = None

    def say(self, *words: object) -> None:
        self.said.append(" ".join(map(str, words)))

    def writes(self, program: Path, seed: int, sizes: dict[str, int], terminal: bool) -> None:
        """Have the container write; its input is read, ignored, or there is none."""
        pause = self.choice.choice((0, 300, 1500))
        self.status = self.choice.randrange(90)
        self.terminal = terminal
        words = [program, "write", seed, sizes["stdout"], sizes.get("stderr", 0)]
        command = " ".join(map(str, [*words, pause, self.status]))
        self.input = self.choice.choice(("none", "ignored", "read"))
        if terminal and self.input == "read":
            self.input = "ignored"  # a terminal would cut and change it
        if self.input != "none":
            self.container.options["-i"] = None
        if self.input == "read":
            command = f"cat <&0 >input 2>&1 & {command}; code=$?; kill $! 2>/dev/null; exit $code"
            self.container.allow("bundle/input")
        else:
            command = f"exec {command}"
        self.container.fifo("start")
        self.container.command(command)
        self.say("writes", sizes, "pause", pause, "input", self.input)

    def add_client(self, first: bool) -> None:
        """Somebody attaches."""
        kind = self.choice.choice(KINDS)
        if not first:
            with suppress(FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                self.clients.append(Client(self.socket, len(self.clients), kind, False))
            return
        before = self._accepted()
        self.clients.append(Client(self.socket, len(self.clients), kind, True))
        deadline = Deadline()
        while self._accepted() == before:
            assert not deadline.passed(), "conmon does not accept a client"
            time.sleep(0.001)  # polled: an accept has no event

    def _accepted(self) -> int:
        return decode_counters(self._record())["clients"]

    def _record(self) -> bytes:
        return os.pread(self._memory, 65536, 0)

    def launch(self, *options: str, **settings: Any) -> None:
        """Start it all, with some clients that see everything."""
        latency = self.choice.choice(("0", "5", "50"))
        self.say("log latency:", latency)
        self.container.launch("--log-latency", latency, *options, **settings)
        self.container.started()
        self.open_counters()
        for _ in range(self.choice.randrange(4)):
            self.add_client(first=True)
        self.container.open_fifo(self.container.bundle / "start")

    def open_counters(self) -> None:
        """Keep hold of the monitor's counters, so that they can be read after its end too."""
        link = self.container.bundle / "conmon-counters"
        self.container.wait_until(link.is_symlink, "the counters")
        self._memory = fd = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
        self.container.on_close(lambda: os.close(fd))

    def play(self) -> None:
        """Let things happen until the monitor has ended, and read what is left."""
        monitor = self.container.monitor
        deadline = Deadline(ROUND_S)
        due = 0.0
        while monitor.alive():
            assert not deadline.passed(), f"no end{self.container.state()}"
            self._read(monitor.fd)
            if time.monotonic() >= due:
                self.choice.choice([self._act, self._come, *self.actions])()
                due = time.monotonic() + self.choice.uniform(0.001, 0.05)
        assert self.container.end() == self.status
        for client in self.clients:
            client.read_rest()
        if self._memory >= 0:
            self.counters = decode_counters(self._record())

    def _read(self, monitor: int) -> None:
        ready: dict[int, Action] = {one.fileno(): one.read for one in self.clients if one.wants}
        if self.journal is not None and self.journal.wants:
            ready[self.journal.fileno()] = self.journal.take
        poller = select.poll()
        for fd in (monitor, *ready):
            poller.register(fd, select.POLLIN)
        for fd, _ in poller.poll(10):
            if fd in ready:
                ready[fd]()

    def _act(self) -> None:
        if self.clients:
            self.choice.choice(self.clients).act(self.choice)

    def _come(self) -> None:
        if len(self.clients) < 6:
            self.add_client(first=False)

    def pause(self) -> None:
        """Do nothing for a moment. Not a wait for something: nothing may depend on it."""
        time.sleep(self.choice.uniform(0, 0.05))

    def output(self, pieces: list[Piece], expected: Streams) -> Streams:
        """What pieces have of the container's output; a terminal may have more at the beginning."""
        found = joined(pieces)
        if self.terminal and not is_tail(found, expected):
            found = joined(without_echo(pieces))
        return found

    def check_clients(self, expected: Streams) -> None:
        """Who read to the end has everything since it came; who was disconnected was counted."""
        early = 0
        for client in self.clients:
            if not client.open:
                continue
            found = self.output(client.pieces, expected)
            assert client.ended == "end of file", f"{client!r} ended by {client.ended}"
            if self.counters.get("clients_dropped", 0) > early and not is_tail(found, expected):
                early += 1
            elif client.first:
                for name, data in found.items():
                    same(data, expected.get(name, b""), f"{name} at {client!r}")
            else:
                tail(found, expected, repr(client))
        if self.input == "read":
            file = self.container.bundle / "input"  # made by who reads it, if it comes to that
            check_input(file.read_bytes() if file.exists() else b"", self.clients)
        whole = sum(map(len, expected.values()))
        assert self.terminal or self.counters.get("bytes_in", whole) == whole

    def close(self) -> None:
        for client in self.clients:
            client.close()
