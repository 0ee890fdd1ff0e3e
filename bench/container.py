"""One container under one conmon, started as podman or CRI-O do, for measuring.

Nothing here watches what conmon writes while it is measured: an inotify watch on a log directory,
say, would cost the monitor time with every write.
"""

from __future__ import annotations

import errno
import json
import os
import resource
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
    run in the bundle; it must read a line from the fifo `go` there. `quick` has its own, which
    waits to be killed. The calling process must be a child subreaper. All times are those of
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
        # `quick` takes the exit status from its end; journald wants at least 12 bytes.
        self.cid = f"benchmark-{root.name}-0"
        self.bundle = root / "bundle"
        self.exits = root / "exits"
        self.started = self.reported = self.parent_cpu_s = 0.0
        self.pid = self.monitor = self._parent = 0
        self._pidfd = self._container_fd = self._gate = self._go = -1
        self._sync: socket.socket | None = None
        self._to_conmon: socket.socket | None = None
        self._attach: socket.socket | None = None
        for directory in (root, self.bundle, self.exits, root / "persist", root / "sockets"):
            directory.mkdir()
        os.mkfifo(self.bundle / "gate")
        if runtime == "quick":
            # Its container waits until nobody can write to the gate any more: as long as we can.
            self._gate = os.open(self.bundle / "gate", os.O_RDWR | os.O_CLOEXEC)
        else:
            os.mkfifo(self.bundle / "go")
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
        """Start conmon, and wait until it has reported the container's pid and left its parent.

        `started` and `reported` are the moments before the exec and after the report.
        BenchError with what conmon wrote, if it reports something else.
        """
        self.spawn()
        self.report()

    def spawn(self) -> None:
        """Start conmon, with the byte on the start pipe that lets it go on."""
        self._sync, sync = _socketpair()
        self._to_conmon, start = _socketpair()
        pipes = {"_OCI_SYNCPIPE": sync, "_OCI_STARTPIPE": start}
        if "--exec-attach" in self._argv:
            self._attach, pipes["_OCI_ATTACHPIPE"] = _socketpair()
        self.start()
        environment = {**ENVIRONMENT, "TMPDIR": str(self.root)}
        for name, end in pipes.items():
            os.set_inheritable(end.fileno(), True)
            environment[name] = str(end.fileno())
        with open(os.devnull) as null, open(self.root / "stderr", "w") as err:
            actions = [
                (os.POSIX_SPAWN_DUP2, null.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, err.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, err.fileno(), 2),
            ]
            self.started = time.perf_counter()
            self._parent = os.posix_spawn(
                self.conmon, self._argv, environment, file_actions=actions
            )
        for end in pipes.values():
            end.close()

    def start(self) -> None:
        """Send a byte on the start pipe."""
        assert self._to_conmon is not None
        self._to_conmon.send(b"\0")

    def ready(self) -> None:
        """Wait for the message on the attach pipe: clients can connect."""
        assert self._attach is not None
        if not self._attach.recv(4096):
            raise BenchError(f"{self.conmon} says nothing on the attach pipe: {self._stderr()}")

    def report(self) -> None:
        """Wait for the container's pid on the sync pipe, and for the end of conmon's parent.

        With `--sync` there is none: conmon is the process that was started.
        """
        assert self._sync is not None
        try:
            message = self._sync.recv(4096)
        except TimeoutError:
            message = b""
        self.reported = time.perf_counter()
        self._take_pid(message)
        if "--sync" in self._argv:
            self.monitor = self._parent
        else:
            self._wait_for_parent()
            self.monitor = int((self.root / "conmon.pid").read_bytes())
        self._pidfd = os.pidfd_open(self.monitor)
        for end in (self._sync, self._to_conmon, self._attach):
            if end is not None:
                end.close()

    def _wait_for_parent(self) -> None:
        os.waitid(os.P_PID, self._parent, os.WEXITED | os.WNOWAIT)
        self.parent_cpu_s = kernel.cpu_s(self._parent)
        _, status = os.waitpid(self._parent, 0)
        if status != 0:
            raise BenchError(f"{self.conmon} ends with {status:#x}: {self._stderr()}")

    def _take_pid(self, message: bytes) -> None:
        report = json.loads(message or b"{}")
        self.pid = report.get("data", report.get("pid", -1))
        if self.pid <= 0:
            raise BenchError(f"{self.conmon} reports {message!r}: {self._stderr()}")
        try:
            self._container_fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            pass  # it has ended already

    def _stderr(self) -> str:
        return (self.root / "stderr").read_text(errors="replace").strip()

    def settle(self, seconds: float = 0.05) -> None:
        """Wait until the container waits for `go`, and the monitor has done nothing for so long.

        It is its idle self then.
        """
        if self._gate < 0 and self._go < 0:
            self._go = open_for_writing(self.bundle / "go", TIMEOUT_S)
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
        os.write(self._go, b"\n")
        return now

    def kill(self) -> float:
        """Kill the container process: the moment before that."""
        now = time.perf_counter()
        signal.pidfd_send_signal(self._container_fd, signal.SIGKILL)
        return now

    def open_gate(self) -> None:
        """Let a container of `quick` end as soon as that runtime has."""
        os.close(self._gate)
        self._gate = -1

    def reap(self) -> resource.struct_rusage:
        """Reap the monitor, which has ended: what it and all that it waited for have used."""
        _, _, usage = os.wait4(self.monitor, 0)
        self.monitor = 0
        return usage

    def cpu_s(self) -> float:
        """CPU time of the monitor's pid so far, in s: all lives, no children."""
        return kernel.cpu_s(self.monitor)

    def wait(self, seconds: float = TIMEOUT_S) -> bool:
        """Wait for the monitor's end, but do not reap it: its CPU time can be read. True if so."""
        return kernel.wait_readable(self._pidfd, seconds)

    def check_exit(self) -> None:
        """See that the container has ended well. BenchError if not."""
        status = (self.exits / self.cid).read_text()
        if status != "0":
            raise BenchError(f"the container under {self.conmon} ended with {status}")

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
        for end in (self._sync, self._to_conmon, self._attach):
            if end is not None:
                end.close()
        for fd in (self._gate, self._go, self._container_fd, self._pidfd):
            if fd >= 0:
                os.close(fd)
        if self.monitor:
            os.waitpid(self.monitor, 0)
        shutil.rmtree(self.root)

    def _end(self) -> None:
        """End the container; and the monitor if it does not end by itself then."""
        if self._container_fd >= 0:
            try:
                self.kill()
            except ProcessLookupError:
                pass  # ended already: the monitor is on its way
        if not self.wait(TIMEOUT_S):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


def open_for_writing(fifo: Path, seconds: float) -> int:
    """Open a fifo when somebody has it open for reading. BenchError after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > end:
                raise BenchError(f"nobody reads {fifo}: {error.strerror}") from None
        time.sleep(0.001)


def _socketpair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(TIMEOUT_S)
    return ours, theirs
