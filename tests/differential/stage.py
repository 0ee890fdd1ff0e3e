"""One conmon on stage: plays a scenario, and what a caller sees of it is noted by aspect."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from differential.steps import Trace
from differential.view import View
from harness import Container, Guard
from harness_attach import AttachClient
from harness_os import TIMEOUT_S, Deadline, wait_fd
from harness_proc import settled

#: How long the C conmon is given to prove that it leaves a process, where it is known to.
PEER_PATIENCE_S = 1.0


@dataclass(frozen=True)
class Scenario:
    """What is done to a conmon. `play` prepares, starts, and waits for the end."""

    name: str
    what: str
    play: Callable[[Stage], None]
    peer_stays: bool = False  # the C conmon leaves processes, so the end is not waited for


class Stage:
    """A container, the conmon beside it, and the notes: aspect -> lines."""

    def __init__(self, scenario: Scenario, conmon: Path, root: Path, guard: Guard) -> None:
        root.mkdir()
        self.scenario = scenario
        self.guard = guard
        self.container = Container(conmon, root, guard)
        self.view = View(self.container)
        self.notes: dict[str, list[str]] = defaultdict(list)
        self._trace: Trace | None = None
        self._clients: list[AttachClient] = []

    def play(self) -> dict[str, list[str]]:
        """Play the scenario: what was noted, without aspects that have nothing to tell."""
        try:
            self.scenario.play(self)
        finally:
            self.container.close()
        return {aspect: lines for aspect, lines in self.notes.items() if lines}

    # Preparations

    def record(self) -> None:
        """Note what the runtime is given."""
        self.container.record()

    def trace(self) -> list[str]:
        """Note the order of conmon's steps, by system calls: the wrapper for `launch`."""
        self._trace = Trace(self.container)
        return self._trace.wrapper

    # What happens

    def launch(self, *extra: str | bytes, **settings: Any) -> None:
        """Start conmon, with the caller's umask 022."""
        self.view.begin()
        self.container.launch(*extra, **{"umask": 0o022, **settings})

    def message(self) -> bytes:
        """Note the next message on the sync pipe."""
        data = self.container.message()
        assert data[-1:] in (b"\n", b""), f"part of a message: {data!r}"
        self.notes["sync pipe"].append(
            self.view.numbers(data).rstrip("\n") if data else "end of file"
        )
        return data

    def look(self, when: str) -> None:
        """Note the files that are there, and what /proc tells of the monitor."""
        monitor = self.container.monitor.pid
        settled(monitor)  # the container's pid is told before the monitor is all set up
        self.notes[f"files {when}"] += self.view.files()
        self.notes[f"monitor {when}"] += self.view.process(monitor)

    def attach(self, accepted: bool = True) -> AttachClient:
        """A client; what it got is noted at the end."""
        client = self.container.attach(accepted)
        self._clients.append(client)
        return client

    def open(self, name: str) -> None:
        """Let who waits on a fifo in the bundle go on."""
        self.container.open_fifo(self.container.bundle / name)

    # The end

    def finish(self) -> None:
        """Wait for the end of it all, and note what is left to see."""
        while not self._stays() and self.message():
            pass
        self.end_clients()
        self.end_processes()
        self.note_end()

    def _stays(self) -> bool:
        return self.scenario.peer_stays and self.container.peer

    def end_clients(self) -> None:
        """Note what each client has got, to its end of file."""
        for number, client in enumerate(self._clients, 1):
            client.read_all()
            for stream, name in ((2, "stdout"), (3, "stderr")):
                data = client.stream(stream)
                self.notes[f"attach client {number}"] += [
                    f"{name} {self.view.text(line)!r}" for line in data.splitlines(keepends=True)
                ]

    def end_processes(self) -> None:
        """Wait for every process; note how those ended that a caller waits for."""
        container = self.container
        status = container.parent_status()
        self.notes["exit status"].append(f"started process {status}")
        stays = self._stays()
        # the parent has written it by now, if it does
        if not stays and "--sync" not in container.argv and container.conmon_pidfile.exists():
            self.notes["exit status"].append(f"monitor {container.monitor.wait()}")
        left = self.guard.left(PEER_PATIENCE_S if stays else TIMEOUT_S)
        self.notes["processes that stay"] += [
            self.view.text(row.command).split()[0] for row in left
        ]

    def note_end(self) -> None:
        """Note files, logs, texts, and what runtime and exit command have recorded."""
        view, notes, container = self.view, self.notes, self.container
        container.wait_until(lambda: True, "the last events")
        notes["stdout"] += view.numbers(container.stdout).splitlines()
        notes["stderr"] += view.numbers(container.stderr).splitlines()
        notes["files at the end"] += view.files()
        notes["log"] += view.logs()
        # one pid file is written by the intermediate parent, while the monitor does the rest
        notes["events of pid files"] += sorted(
            view.events("run"), key=lambda line: "run/pidfile" in line
        )
        notes["events"] += view.events("bundle", "exits", "persist", "logs")
        if (container.seen / "runtime.argv").exists():
            self._note_runtime(container.seen)
        if (container.root / "after" / "recorded").exists():
            self._note_exit_command(container.root / "after")
        if self._trace is not None:
            for aspect, lines in self._trace.notes().items():
                notes[aspect] += lines

    def _note_runtime(self, seen: Path) -> None:
        view, notes = self.view, self.notes
        notes["runtime argv"] += view.words(seen / "runtime.argv")
        notes["runtime environment"] += [
            line.replace((seen / "runtime.pid").read_text(), "RUNTIME")
            for line in view.words(seen / "runtime.environ")
        ]
        notes["runtime fds"] += view.fds(seen / "runtime.fds")
        notes["runtime cwd"].append(view.text((seen / "runtime.cwd").read_text().strip()))
        notes["runtime state"] += view.signals(seen / "runtime.status")
        notes["runtime state"].append(view.umask(seen / "runtime.status"))

    def _note_exit_command(self, after: Path) -> None:
        view, notes = self.view, self.notes
        notes["exit command argv"] += view.words(after / "argv")
        notes["exit command environment"] += view.words(after / "environ")
        notes["exit command fds"] += view.fds(after / "fds")
        notes["exit command state"] += view.signals(after / "status")
        notes["exit command finds"] += [
            view.text(line) for line in (after / "files").read_text().split()
        ]
        parent = view.numbers((after / "parent.pid").read_text())
        notes["exit command parent"].append(f"{parent} {view.name(after / 'parent.comm')}")


def read_end(fd: int) -> bytes:
    """Everything up to end of file, and close it."""
    data = b""
    while True:
        assert wait_fd(fd, Deadline()), "somebody holds the pipe"
        part = os.read(fd, 65536)
        if not part:
            os.close(fd)
            return data
        data += part
