"""What podman does with conmon, for one container: start it, listen to it, look at its files."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from demo.runtimes import Runtime

TIMEOUT_S = 10.0


class DemoError(Exception):
    """Something was not as it must be; the text says what."""


class Manager:
    """One container under one conmon, with all its files below `root`.

    The process must be a child subreaper: the monitor, which leaves its parent, becomes a child.
    """

    def __init__(self, conmon: Path, runtime: Runtime, root: Path, name: str) -> None:
        self.conmon = conmon
        self.runtime = runtime
        self.cid = f"conmon-demo-{os.getpid()}-{name}"
        self.root = root / name
        self.bundle = self.root / "bundle"
        self.log = self.root / "ctr.log"
        self.exit_file = self.root / "exits" / self.cid
        self.persist_exit_file = self.root / "persist" / "exit"
        self.pidfile = self.root / "pidfile"
        self.conmon_pidfile = self.root / "conmon.pid"
        self.container_pid = self.monitor_pid = 0
        self._monitor_fd = -1
        self._sync: socket.socket | None = None
        for directory in (self.root, self.exit_file.parent, self.persist_exit_file.parent):
            directory.mkdir()

    def arguments(self) -> list[str]:
        """conmon's command line, as podman writes it."""
        words = ["--api-version", "1", "-c", self.cid, "-u", self.cid, "-n", self.cid]
        words += ["-r", str(self.runtime.path), "-b", str(self.bundle), "-p", str(self.pidfile)]
        words += ["--exit-dir", str(self.exit_file.parent), "--full-attach"]
        words += ["--persist-dir", str(self.persist_exit_file.parent)]
        words += ["-l", f"k8s-file:{self.log}", "--log-level", "warning"]
        words += ["--conmon-pidfile", str(self.conmon_pidfile)]
        for option in self.runtime.options:
            words += ["--runtime-arg", option]
        # As podman lets conmon run `podman container cleanup`.
        words += ["--exit-command", str(self.runtime.path)]
        for word in (*self.runtime.options, "delete", self.cid):
            words += ["--exit-command-arg", word]
        return words

    def launch(self, command: list[str]) -> None:
        """Start conmon for a container that runs `command`; it has gone into the background then.

        DemoError with what conmon wrote, if it does not.
        """
        self.runtime.write_bundle(self.bundle, command)
        self._sync, sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours, start = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.send(b"\0")
        with sync, ours, start:
            pipes = {"_OCI_SYNCPIPE": str(sync.fileno()), "_OCI_STARTPIPE": str(start.fileno())}
            done = subprocess.run(
                [self.conmon, *self.arguments()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env={**os.environ, **pipes},
                pass_fds=[sync.fileno(), start.fileno()],
                timeout=TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            text = (done.stderr or done.stdout).strip()
            raise DemoError(f"conmon ends with {done.returncode}: {text}")
        self.monitor_pid = int(self.conmon_pidfile.read_text())
        self._monitor_fd = os.pidfd_open(self.monitor_pid)

    def report(self) -> str:
        """Wait for the message on the sync pipe: its text. DemoError if it is not about a pid."""
        assert self._sync is not None
        self._sync.settimeout(TIMEOUT_S)
        try:
            text = self._sync.recv(4096).decode(errors="replace")
        except TimeoutError:
            raise DemoError("conmon says nothing on the sync pipe") from None
        message = json.loads(text or "{}")
        self.container_pid = message.get("data", -1)
        if self.container_pid <= 0:
            raise DemoError(f"conmon reports: {message.get('message', text)}".rstrip())
        return text.rstrip()

    def start(self) -> None:
        """Let the created container run. DemoError with the runtime's words."""
        done = self.runtime.call("start", self.cid)
        if done.returncode != 0:
            raise DemoError(f"{self.runtime.name} start: {done.stderr.strip()}")

    def memory(self) -> dict[str, int]:
        """The monitor's memory in kB, by the names in /proc/PID/smaps_rollup (proc(5))."""
        found = {}
        for line in Path(f"/proc/{self.monitor_pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, value = line.split(":")
            found[name] = int(value.split()[0])
        return found

    def monitor_has_ended(self, seconds: float = 0) -> bool:
        """Wait for the monitor's end, `seconds` at most."""
        return bool(select.select([self._monitor_fd], [], [], seconds)[0])

    def monitor_status(self) -> int:
        """Wait for the monitor's end: its exit status. DemoError if it lives on."""
        if not self.monitor_has_ended(TIMEOUT_S):
            raise DemoError(f"the monitor, pid {self.monitor_pid}, does not end")
        return os.waitstatus_to_exitcode(os.waitpid(self.monitor_pid, 0)[1])

    def __enter__(self) -> Manager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave nothing running, however far it came."""
        if self.container_pid > 0:
            self.runtime.call("delete", "--force", self.cid)
        if self._sync is not None:
            self._sync.close()
        if self._monitor_fd >= 0:
            if not self.monitor_has_ended(TIMEOUT_S):
                signal.pidfd_send_signal(self._monitor_fd, signal.SIGKILL)
            os.close(self._monitor_fd)
        _reap_children()


def _reap_children() -> None:
    """Wait for what became a child of this process because its own parent has ended."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return
