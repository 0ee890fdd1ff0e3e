"""One container under one conmon, started as podman or CRI-O do, for measuring.

Nothing here watches what conmon writes while it is measured: an inotify watch on a log directory,
say, would cost the monitor time with every write.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from bench import STANDIN, kernel

TIMEOUT_S = 60.0
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class BenchError(Exception):
    """Something did not work as it must; the text says what."""


class Container:
    """The files of one container below `root`, and the conmon at work on it.

    `runtime` is one of tests/standin; `command` a shell fragment that is the container process,
    which waits for `go`. The calling process must be a child subreaper. All times are those of
    time.perf_counter(), in s.
    """

    def __init__(
        self,
        conmon: Path,
        root: Path,
        *,
        command: str = "",
        runtime: str = "runtime",
        log: str = "none",
        options: Sequence[str] = (),
        crio: bool = False,
    ) -> None:
        self.conmon = conmon
        self.root = root
        self.cid = f"{root.name}-0"  # `quick` takes the exit status from the end of the id
        self.bundle = root / "bundle"
        self.exits = root / "exits"
        self.started = self.reported = 0.0
        self.pid = self.monitor = 0
        self._pidfd = self._container_fd = self._gate = self._start = -1
        self._sync: socket.socket | None = None
        for directory in (root, self.bundle, self.exits, root / "persist", root / "sockets"):
            directory.mkdir()
        os.mkfifo(self.bundle / "gate")
        if runtime == "quick":
            # Its container waits until nobody can write to the gate any more: as long as we can.
            self._gate = os.open(self.bundle / "gate", os.O_RDWR | os.O_CLOEXEC)
        else:
            os.mkfifo(self.bundle / "start")
            self._start = os.open(self.bundle / "start", os.O_RDWR | os.O_CLOEXEC)
        (self.bundle / "command").write_text(command + "\n")
        self._argv = self._arguments(STANDIN / runtime, log, crio) + list(options)

    def _arguments(self, runtime: Path, log: str, crio: bool) -> list[str]:
        root = self.root
        words = [str(self.conmon), "-c", self.cid, "-u", self.cid, "-n", "bench"]
        words += ["-r", str(runtime), "-b", str(self.bundle), "-p", str(root / "pidfile")]
        words += ["--exit-dir", str(self.exits), "--persist-dir", str(root / "persist")]
        words += ["-l", log, "--conmon-pidfile", str(root / "conmon.pid")]
        if crio:
            return [*words, "--socket-dir-path", str(root / "sockets")]
        return [*words, "--full-attach", "--api-version", "1"]

    @property
    def socket(self) -> Path:
        """Where clients attach."""
        if "--full-attach" in self._argv:
            return self.bundle / "attach"
        return self.root / "sockets" / self.cid / "attach"

    def launch(self) -> None:
        """Start conmon and wait until it has reported the container's pid.

        `started` and `reported` are the moments before the exec and after the report.
        BenchError with what conmon wrote, if it reports something else.
        """
        self._sync, sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sync.settimeout(TIMEOUT_S)
        ours, start = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.send(b"\0")
        with sync, ours, start, open(os.devnull) as null, open(self.root / "stderr", "w") as err:
            for end in (sync, start):
                os.set_inheritable(end.fileno(), True)
            pipes = {"_OCI_SYNCPIPE": str(sync.fileno()), "_OCI_STARTPIPE": str(start.fileno())}
            actions = [
                (os.POSIX_SPAWN_DUP2, null.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, err.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, err.fileno(), 2),
            ]
            environment = {**ENVIRONMENT, "TMPDIR": str(self.root), **pipes}
            self.started = time.perf_counter()
            parent = os.posix_spawn(self.conmon, self._argv, environment, file_actions=actions)
            sync.close()
            try:
                message = self._sync.recv(4096)
            except TimeoutError:
                message = b""
            self.reported = time.perf_counter()
        self._take_pid(message)
        _, status, self.parent_usage = os.wait4(parent, 0)
        if status != 0:
            raise BenchError(f"{self.conmon} ends with {status:#x}: {self._stderr()}")
        self.monitor = int((self.root / "conmon.pid").read_bytes())
        self._pidfd = os.pidfd_open(self.monitor)

    def _take_pid(self, message: bytes) -> None:
        report = json.loads(message or b"{}")
        self.pid = report.get("data", report.get("pid", -1))
        if self.pid <= 0:
            raise BenchError(f"{self.conmon} reports {message!r}: {self._stderr()}")
        self._container_fd = os.pidfd_open(self.pid)

    def _stderr(self) -> str:
        return (self.root / "stderr").read_text(errors="replace").strip()

    def settle(self, seconds: float = 0.02) -> None:
        """Wait until the monitor has done nothing for so long: it is its idle self then."""
        end = time.monotonic() + TIMEOUT_S
        before = -1
        while (now := kernel.context_switches(self.monitor)) != before:
            if time.monotonic() > end:
                raise BenchError(f"{self.conmon} does not settle")
            before = now
            time.sleep(seconds)

    def go(self) -> float:
        """Let the container process go on: the moment before that."""
        now = time.perf_counter()
        os.write(self._start, b"\n")
        return now

    def kill(self) -> float:
        """Kill the container process: the moment before that."""
        now = time.perf_counter()
        signal.pidfd_send_signal(self._container_fd, signal.SIGKILL)
        return now

    def cpu_s(self) -> float:
        """CPU time of the monitor's pid so far, in s: all lives, no children."""
        return kernel.cpu_s(self.monitor)

    def wait(self, seconds: float = TIMEOUT_S) -> bool:
        """Wait for the monitor's end, but do not reap it: its CPU time can be read. True if so."""
        return kernel.wait_readable(self._pidfd, seconds)

    def exit_status(self) -> int:
        """The container's, from its exit file."""
        return int((self.exits / self.cid).read_text())

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave no process and no file, however far it came."""
        if self._pidfd >= 0 and not self.wait(0):
            self._end()
        for fd in (self._gate, self._start, self._container_fd, self._pidfd):
            if fd >= 0:
                os.close(fd)
        if self._sync is not None:
            self._sync.close()
        if self.monitor:
            os.waitpid(self.monitor, 0)
        shutil.rmtree(self.root)

    def _end(self) -> None:
        """End the container; and the monitor if it does not end by itself then."""
        try:
            signal.pidfd_send_signal(self._container_fd, signal.SIGKILL)
        except ProcessLookupError:
            pass  # ended already: the monitor is on its way
        if not self.wait(TIMEOUT_S):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
