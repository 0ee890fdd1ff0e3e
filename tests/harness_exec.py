"""Exec sessions as podman and CRI-O ask for them (CONTRACT D1, D2, C6)."""

from __future__ import annotations

import os
import socket
from typing import Any

from harness import Container, Pipes
from harness_os import TIMEOUT_S, Deadline, wait_fd
from harness_rooms import CID


def as_podman_exec(container: Container) -> None:
    """Options of a session that podman starts: api 1, a bundle of its own, no log."""
    options = container.options
    options["-l"] = "none"
    options["-e"] = None
    options["--exec-process-spec"] = str(container.bundle / "process.json")
    container.put("process.json", "{}")


def as_crio_exec(container: Container) -> None:
    """Options of CRI-O's ExecSync: no bundle, no cuuid, api 0, an empty pid file made before."""
    container.put("process.json", "{}")
    container.pidfile.write_bytes(b"")
    container.options = {
        "-c": CID,
        "-n": "name",
        "-r": str(container.runtime),
        "-p": str(container.pidfile),
        "-e": None,
        "-l": str(container.log),
        "--socket-dir-path": str(container.root / "sockets"),
        "--log-level": "info",
        "--sync": None,
        "--log-global-size-max": "16777216",
        "--exec-process-spec": str(container.bundle / "process.json"),
        "--runtime-arg": "--root=/run/none",
    }


def launch_crio_exec(container: Container, *extra: str, **settings: Any) -> None:
    """Start a session with the kinds of pipes that CRI-O uses for it."""
    container.launch(*extra, pipes=Pipes.PIPE, **settings)


class AttachPipe:
    """The attach pipe of a session with --exec-attach."""

    def __init__(self, container: Container) -> None:
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._fd = ours.detach()
        container.on_close(lambda: os.close(self._fd))

    def launch(self, container: Container, *extra: str, **settings: Any) -> None:
        """Start a session that waits for the second go (C4.16)."""
        fd = self._theirs.fileno()
        container.launch(
            "--exec-attach", *extra,
            pass_fds=[fd], environment={"_OCI_ATTACHPIPE": str(fd)}, **settings,
        )  # fmt: skip
        self._theirs.close()

    def message(self, seconds: float = TIMEOUT_S) -> bytes:
        """The next message, `b""` at end of file."""
        assert wait_fd(self._fd, Deadline(seconds)), "nothing on the attach pipe"
        return os.read(self._fd, 4096)
