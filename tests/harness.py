"""Black-box harness for a conmon binary: plays podman or CRI-O towards it.

One `Container` is one place on disk (bundle, exit, persist and log directories), the options of
one conmon, and the ends of its pipes. The stand-in runtime (standin/runtime) is steered by files
in the bundle; no container technology is needed, nor root.

The process that runs the harness must be a child subreaper (`Guard`): then a daemonized conmon,
and whatever it might leave behind, become children that can be waited for.
"""

from __future__ import annotations

import enum
import functools
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from harness_attach import AttachClient
from harness_os import (
    TIMEOUT_S,
    Deadline,
    Process,
    Row,
    descendants,
    end_descendants,
    is_readable,
    set_subreaper,
    wait_fd,
    wait_no_descendants,
)
from harness_proc import open_fds
from harness_rooms import STANDIN, Rooms

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

T = TypeVar("T")


@functools.cache
def conmon_version(path: Path) -> tuple[int, ...]:
    """Version of a conmon binary, from the first line of its --version (C1.7)."""
    done = subprocess.run([path, "--version"], capture_output=True, timeout=TIMEOUT_S, check=True)
    match = re.match(rb"conmon version (\d+)\.(\d+)\.(\d+)", done.stdout)
    assert match, f"{path} --version says {done.stdout!r}"
    return tuple(int(part) for part in match.groups())


def is_peer(path: Path) -> bool:
    """True for a C conmon: the tests marked `ours` do not hold for it."""
    return conmon_version(path) < (2, 3)


class Pipes(enum.Enum):
    """Kind of the sync and start pipes (D1, D2)."""

    SEQPACKET = "podman"
    STREAM = "CRI-O create"
    PIPE = "CRI-O exec: sync is a pipe, start a stream"


class Guard:
    """Proves that nothing that was started inside it is left over, and ends it if it is."""

    def __enter__(self) -> Guard:
        self._spare = frozenset(row.pid for row in descendants())
        set_subreaper(True)
        return self

    def left(self, seconds: float = TIMEOUT_S) -> list[Row]:
        """Wait until all processes have ended; return those that have not."""
        return wait_no_descendants(self._spare, seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            end_descendants(self._spare)
        finally:
            set_subreaper(False)


class Container(Rooms):
    """One container's files, conmon's options for it, and one conmon at work on it."""

    def __init__(self, conmon: Path, root: Path, guard: Guard, runtime: str = "runtime") -> None:
        super().__init__(root, STANDIN / runtime, is_peer(conmon))
        self.conmon = conmon
        self.guard = guard
        self.environment: dict[str, str] = {"PATH": PATH, "TMPDIR": str(root / "tmp")}
        self.given_environment: dict[str, str] = {}
        self.argv: list[str | bytes] = []
        self._sync: int | None = None
        self._start: int | None = None
        self._monitor: Process | None = None
        self._parent: subprocess.Popen[bytes] | None = None
        self._parent_process: Process | None = None

    # Start

    def launch(
        self,
        *extra: str | bytes,
        pipes: Pipes = Pipes.SEQPACKET,
        go: bool = True,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        override: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        umask: int = -1,
        cwd: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        """Start conmon with its options and `extra`; does not wait for anything.

        `go` sends the byte on the start pipe beforehand. `environment` is added to, `override` and
        `without` change the pipes' variables. `wrapper` is a command that ends in an exec of its
        arguments. stdout and stderr go to files unless fds are given: a pipe would make the
        reader wait for whoever holds it.
        """
        self._allowed |= self.files()
        self._sync, sync = _pipe(pipes)
        start_kind = Pipes.SEQPACKET if pipes is Pipes.SEQPACKET else Pipes.STREAM
        self._start, start = _pipe(start_kind)
        if go:
            self.go()
        self.argv = [*wrapper, str(self.conmon), *self.arguments(*extra)]
        given = {**self.environment, **(environment or {})}
        given |= {"_OCI_SYNCPIPE": str(sync), "_OCI_STARTPIPE": str(start)}
        given |= override or {}
        for name in without:
            del given[name]
        self.given_environment = given
        with (
            open(self.root / "run" / "stdout", "wb") as out,
            open(self.root / "run" / "stderr", "wb") as err,
        ):
            self.allow("run/stdout", "run/stderr")
            self._parent = subprocess.Popen(
                self.argv,
                stdin=stdin,
                stdout=out if stdout is None else stdout,
                stderr=err if stderr is None else stderr,
                env=given,
                cwd=cwd,
                umask=umask,
                pass_fds=[sync, start, *pass_fds],
            )
        os.close(sync)
        os.close(start)
        self._parent_process = Process(self._parent.pid)

    def go(self) -> None:
        """Send one byte on the start pipe."""
        assert self._start is not None
        os.write(self._start, b"\0")

    def close_sync(self) -> None:
        """Close the sync pipe, as a caller does that has gone."""
        os.close(self.sync)
        self._sync = None

    def close_start(self) -> None:
        """Close the start pipe."""
        assert self._start is not None
        os.close(self._start)
        self._start = None

    # What conmon says

    @property
    def parent(self) -> Process:
        """The process that was started: the intermediate parent, or conmon itself with --sync."""
        assert self._parent_process is not None
        return self._parent_process

    def parent_status(self) -> int:
        """Wait for the process that was started: its exit status."""
        return self.parent.wait()

    @property
    def stderr(self) -> bytes:
        return (self.root / "run" / "stderr").read_bytes()

    @property
    def stdout(self) -> bytes:
        return (self.root / "run" / "stdout").read_bytes()

    @property
    def sync(self) -> int:
        """The caller's end of the sync pipe."""
        assert self._sync is not None
        return self._sync

    def sync_ready(self) -> bool:
        """True when the sync pipe has a message, or end of file, now."""
        return is_readable(self.sync)

    def message(self, seconds: float = TIMEOUT_S) -> bytes:
        """The next read of the sync pipe, as podman reads it; `b""` at end of file.

        On a SEQPACKET pipe that is exactly what one write of conmon put in.
        """
        if not wait_fd(self.sync, Deadline(seconds)):
            raise AssertionError(f"no message on the sync pipe within {seconds} s{self.state()}")
        return os.read(self.sync, 65536)

    def report(self) -> dict[str, int | str]:
        """The next message, parsed. Its bytes are taken as Latin-1: it may be invalid UTF-8."""
        data = self.message()
        assert data.endswith(b"\n"), f"message {data!r}{self.state()}"
        value = json.loads(data.decode("latin-1"))
        assert isinstance(value, dict)
        return value

    def started(self) -> int:
        """Wait for the report of a started container: the container pid."""
        report = self.report()
        key = "data" if "--api-version" in self.options else "pid"
        pid = report.get(key)
        assert report == {key: pid}, report
        assert isinstance(pid, int)
        assert pid > 0
        return pid

    # Waiting

    def wait_until(self, condition: Callable[[], T], what: str, seconds: float = TIMEOUT_S) -> T:
        """Wait until `condition` is true: it is asked again at each change in the directories."""
        deadline = Deadline(seconds)
        while True:
            self.events += self._inotify.read()
            if result := condition():
                return result
            if not wait_fd(self._inotify.fd, deadline):
                raise AssertionError(f"{what}: not within {seconds} s{self.state()}")

    def wait_file(self, path: Path) -> bytes:
        """Wait until a file in one of the watched directories has content, and return that."""

        def content() -> bytes:
            return path.read_bytes() if path.exists() else b""

        return self.wait_until(content, f"content of {path.name}")

    def wait_name(self, path: Path) -> None:
        """Wait until there is a file of this name in one of the watched directories."""
        self.wait_until(path.exists, f"file {path.name}")

    def wait_exit_file(self) -> bytes:
        """Wait for the exit file: its content."""
        return self.wait_file(self.exit_file)

    def wait_log(self, data: bytes) -> bytes:
        """Wait until the log has `data` in it: its content then."""
        self.wait_until(
            lambda: self.log.exists() and data in self.log.read_bytes(), f"{data!r} in the log"
        )
        return self.log.read_bytes()

    def wait_log_count(self, data: bytes, count: int) -> None:
        """Wait until `data` is in the log `count` times."""
        self.wait_until(
            lambda: self.log.exists() and self.log.read_bytes().count(data) == count,
            f"{data!r} in the log {count} times",
        )

    @property
    def monitor(self) -> Process:
        """The monitor: known when the intermediate parent has ended (C4.7)."""
        if self._monitor is None:
            if "--sync" in self.argv:
                self._monitor = self.parent
            else:
                assert self.parent_status() == 0, self.state()
                self._monitor = Process(int(self.conmon_pidfile.read_bytes()))
                self.on_close(self._monitor.close)
        return self._monitor

    def run(self, *extra: str | bytes, **settings: Any) -> int:
        """A container from start to end: the status in the exit file. conmon has ended then."""
        self.launch(*extra, **settings)
        self.started()
        return self.end()

    def exit_file_begun(self) -> bool:
        """Whether an exit file has a name by now, be it not its own yet."""
        return any(
            event.directory in ("persist", "exits") and event.what in ("CREATE", "MOVED_TO")
            for event in self.events
        )

    def end(self) -> int:
        """Wait for the end of container and conmon: the status in the exit file."""
        monitor = self.monitor
        status = int(self.wait_exit_file())
        monitor.wait()
        return status

    def kill(self, pid: int) -> None:
        """End the container and wait for conmon's end."""
        monitor = self.monitor
        os.kill(pid, signal.SIGKILL)
        assert self.end() == 128 + signal.SIGKILL
        monitor.wait()

    def nothing_runs(self, seconds: float = TIMEOUT_S) -> bool:
        """Wait until every process that was started has ended."""
        return not self.guard.left(seconds)

    def attach(self, accepted: bool = True) -> AttachClient:
        """Connect a client to the attach socket, and wait until conmon has accepted it.

        Who has connected only may miss output that comes before the accept.
        """

        def sockets() -> set[str]:
            targets = open_fds(self.monitor.pid).values()
            return {target for target in targets if target.startswith("socket:")}

        directory = self.bundle
        if "--full-attach" not in self.options:
            directory = self.root / "sockets" / str(self.options["-u"])
        before, deadline = sockets(), Deadline()
        client = AttachClient(directory / "attach")
        self.on_close(client.close)
        # Polled: an accept has no event that others can wait for.
        while accepted and not sockets() - before:
            assert not deadline.passed(), f"conmon does not accept a client{self.state()}"
            time.sleep(0.001)
        return client

    # What is there

    def state(self) -> str:
        """What a person wants to know when a wait has failed."""
        log = self.log.read_bytes()[-300:] if self.log.exists() else None
        rows = "".join(f"\n    {row}" for row in descendants())
        return (
            f"\n  argv: {self.argv}\n  stderr: {self.stderr!r}\n  end of log: {log!r}"
            f"\n  files: {sorted(self.files())}\n  last events: {self.events[-10:]}"
            f"\n  processes: {rows}"
        )

    def close(self) -> None:
        """Close all pipes and fds of the harness."""
        for action in reversed(self._close):
            action()
        self._close.clear()
        for fd in (self._sync, self._start):
            if fd is not None:
                os.close(fd)
        self._sync = self._start = None
        if self._parent is not None:
            self.parent.close()
            self._parent.poll()


def _pipe(kind: Pipes) -> tuple[int, int]:
    """Two ends: the harness's, and the one that conmon gets."""
    if kind is Pipes.PIPE:
        return os.pipe()
    type_ = socket.SOCK_SEQPACKET if kind is Pipes.SEQPACKET else socket.SOCK_STREAM
    ours, theirs = socket.socketpair(socket.AF_UNIX, type_)
    return ours.detach(), theirs.detach()
