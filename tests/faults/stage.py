"""One try: a conmon on a stage of its own, a tracer at its side, and what is left of them.

Runs in a process of its own, which adopts all that conmon leaves (subreaper) and ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import Container, Guard, Pipes
from harness_os import is_readable
from harness_proc import open_fds

from faults.client import Client
from faults.look import children, content, lives, log_files, state
from faults.tracer import Fault, Side

#: A session takes a tenth of a second. What has not ended after this many hangs.
BOUND_S = 10.0
#: How often a monitor with too many fds is looked at again, 5 ms or an event later.
_FD_LOOKS = 100


class Hang(Exception):
    """What was waited for did not come within the bound."""


class Gone(Exception):
    """Conmon has ended before the session came so far."""


@dataclass
class Facts:
    """What a try showed; all of it plain, so that it can go through a pipe."""

    statuses: dict[int, int] = field(default_factory=dict)
    cpu_s: float = 0.0
    parent: int = 0
    monitor: int = 0
    messages: list[str] = field(default_factory=list)
    attach_messages: list[str] = field(default_factory=list)
    stderr: str = ""
    hang: str = ""
    container: int = 0
    container_left: bool = False
    left: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    persist: str | None = None
    exit: str | None = None
    log: str = ""
    client: str | None = None
    client_end: str = ""
    exit_command: bool = False
    fds: dict[str, int] = field(default_factory=dict)
    killed: bool = False
    hit: dict[str, Any] | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    broken: str = ""
    outside: list[str] = field(default_factory=list)  # what was touched that is not conmon's


class Stage:
    """A container with its conmon, traced; waits that see everything that happens meanwhile."""

    def __init__(
        self,
        conmon: Path,
        root: Path,
        guard: Guard,
        fault: Fault | None,
        usual_fds: dict[str, int] | None,
    ) -> None:
        self.container = Container(conmon, root, guard)
        self.fault = fault
        self._usual_fds = usual_fds
        self.facts = Facts()
        self.client: Client | None = None
        self._side: Side | None = None
        self.bound_s = BOUND_S
        self._end = 0.0
        self._attach_fd = -1
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    # Start

    def launch(self, *extra: str, pipes: Pipes = Pipes.SEQPACKET, **settings: Any) -> None:
        """Start conmon, which waits in a shell until the tracer has hold of it."""
        container = self.container
        gate = container.root / "tracer-gate"
        os.mkfifo(gate)
        container.allow("tracer-gate")
        wrapper = ["/bin/sh", "-c", 'read -r _ <"$0"; exec "$@"', str(gate)]
        self.expect(self.bound_s)
        container.launch(*extra, pipes=pipes, wrapper=wrapper, **settings)
        self.facts.parent = container.parent.pid
        root = str(container.root)
        self._side = Side(container.parent.pid, str(container.conmon), root, self.fault)
        container.open_fifo(gate)

    def expect(self, seconds: float) -> None:
        """What is waited for from now on is to come within so long."""
        self._end = time.monotonic() + seconds

    def watch_attach_pipe(self, fd: int) -> None:
        self._attach_fd = fd

    def attach(self) -> None:
        """Connect a client."""
        options = self.container.options
        directory = self.container.bundle
        if "--full-attach" not in options:
            directory = self.container.root / "sockets" / str(options["-u"])
        self.client = Client(directory / "attach")

    # Waiting

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for the condition; Gone when conmon has ended without it, Hang after the bound."""
        ticks = 0
        while True:
            self._take_all()
            if condition():
                return
            ticks += 1
            if ticks % 4 == 0 and not self.conmons():
                self._take_all()
                if condition():
                    return
                raise Gone(what)
            if time.monotonic() > self._end:
                raise Hang(what)
            self._poll()

    def _poll(self) -> None:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        for fd in (self.container._sync, self._attach_fd):
            if fd is not None and fd >= 0:
                poller.register(fd, select.POLLIN)
        if self.client is not None and not self.client.end:
            poller.register(self.client.fileno(), select.POLLIN)
        poller.poll(5)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)

    def _take_all(self) -> None:
        self._reap()
        container = self.container
        while container._sync is not None and container.sync_ready():
            data = container.message()
            self.facts.messages.append(data.decode("latin-1"))
            if not data:
                container.close_sync()
        if self._attach_fd >= 0 and is_readable(self._attach_fd):
            data = os.read(self._attach_fd, 4096)
            self.facts.attach_messages.append(data.decode("latin-1"))
            if not data:
                os.close(self._attach_fd)
                self._attach_fd = -1
        if self.client is not None:
            self.client.take()

    def _reap(self) -> None:
        """Take the statuses of all that has ended."""
        facts = self.facts
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._side is not None and pid == self._side.pid:
                continue
            facts.statuses[pid] = status
            facts.cpu_s = max(facts.cpu_s, usage.ru_utime + usage.ru_stime)

    # What is there

    def container_pid(self) -> int:
        """The pid of the container process, which it tells itself; 0 before."""
        if not self.facts.container:
            with contextlib.suppress(OSError, ValueError):
                self.facts.container = int((self.container.bundle / "ran").read_text())
        return self.facts.container

    def conmons(self) -> list[int]:
        """All that lives below this process but the container and the tracer."""
        found: list[int] = []
        container = self.container_pid() or self._runtime_says()
        parents = [os.getpid()]
        while parents:
            for pid in children(parents.pop()):
                if pid != container and (self._side is None or pid != self._side.pid):
                    found.append(pid)
                    parents.append(pid)
        return found

    def _runtime_says(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            if self.container.pidfile.is_file():  # and no fifo that took its place
                self.facts.container = int(self.container.pidfile.read_text())
        return self.facts.container

    def told(self) -> dict[str, Any]:
        """The first message of the sync pipe."""
        for message in self.facts.messages:
            with contextlib.suppress(ValueError):
                return dict(json.loads(message))
        return {}

    def monitor(self) -> int:
        """The monitor's pid; 0 where there is none."""
        if "--sync" in self.container.argv:
            return self.facts.parent
        with contextlib.suppress(OSError, ValueError):
            return int(self.container.conmon_pidfile.read_bytes())
        return 0

    def note_fds(self) -> None:
        """What the monitor holds open now; what is on its way may take a moment."""
        for _ in range(_FD_LOOKS):
            self.facts.fds = self._fds()
            if not Counter(self.facts.fds) - Counter(self._usual_fds or self.facts.fds):
                return
            self._poll()

    def sockets(self) -> int:
        """How many sockets the monitor has."""
        return self._fds().get("socket", 0)

    def _fds(self) -> dict[str, int]:
        try:
            targets = open_fds(self.monitor()).values()
        except OSError:
            return {}
        root = str(self.container.root)
        names = (target.replace(root, "").partition(":[")[0] for target in targets)
        return dict(Counter(re.sub(r"^/(logs|persist|exits)/.*", r"/\1", name) for name in names))

    def logged(self) -> bytes:
        """What is in the log's files, oldest first."""
        logs = self.container.root / "logs"
        texts = (content(logs / name) or "" for name in log_files(logs))
        return "".join(texts).encode("latin-1")

    # End

    def end(self) -> None:
        """Wait for the end of all but the container."""
        try:
            self.wait(lambda: not self.conmons(), "end of all")
        except Hang:
            self.note_hang("end of all")

    def note_hang(self, what: str) -> None:
        """What has not ended: conmon itself, or something that it has left."""
        left = self.conmons()
        rows = [state(pid) for pid in left]
        main = {self.facts.parent, self.monitor()} - {0}
        if main & set(left):
            self.facts.hang = f"waited for {what}: " + "; ".join(rows)
        else:
            self.facts.left = rows

    def collect(self) -> None:
        """Everything that is there at the end."""
        self._take_all()
        facts, container = self.facts, self.container
        pid = self.container_pid()
        facts.container_left = bool(pid) and lives(pid)
        if self.client is not None:
            facts.client = self.client.out.decode("latin-1")
            facts.client_end = self.client.end
        facts.persist = content(container.persist_exit)
        facts.exit = content(container.exit_file)
        facts.exit_command = (container.root / "after" / "recorded").exists()
        facts.log = self.logged().decode("latin-1")
        facts.monitor = self.monitor()
        facts.files = sorted(container.unexpected())
        facts.stderr = container.stderr.decode("latin-1").replace(str(container.root), "")

    def close(self) -> None:
        """Let the tracer tell what it saw, once nothing is left to follow."""
        for pid in self.conmons():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._side is not None:
            told = self._side.result()
            self.facts.hit = told.get("hit")
            self.facts.seen = told.get("seen", [])
        self.container.close()
