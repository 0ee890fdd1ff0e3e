"""A systemd-journald of the test bed's own, with an empty journal."""

import json
import subprocess
from pathlib import Path
from typing import Any

from .bed import Bed
from .wait import until

DAEMON = Path("/lib/systemd/systemd-journald")
SOCKET = Path("/run/systemd/journal/socket")

PREPARE = """
mkdir -p /run/systemd/journal /run/log/journal/$(cat /etc/machine-id)
if [ -d /var/log/journal ]; then mount -t tmpfs tmpfs /var/log/journal; fi
"""


class Journal:
    """Runs journald in the bed's mount namespace, whose /run is private."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        # Where /var/log/journal exists journald writes there: the bed hides the host's.
        bed.run("sh", "-ec", PREPARE)
        self._daemon = subprocess.Popen(
            [*bed.enter(Path("/")), str(DAEMON)], stdin=subprocess.DEVNULL
        )
        path = bed.proc(1) / "root" / SOCKET.relative_to("/")
        until(path.exists, "journald's socket")

    def close(self) -> None:
        for process in self._bed.processes():
            if process.exe == str(DAEMON.resolve()):
                self._bed.kill(process.pid, "TERM")
        self._daemon.wait(timeout=30)

    def sync(self) -> None:
        """Have all that was sent written, and readable for every user of the bed."""
        self._bed.run("journalctl", "--sync")
        self._bed.run("chmod", "-R", "o+rX", "/run/log/journal")

    def entries(self, container_id: str) -> list[dict[str, Any]]:
        """The entries of a container, oldest first.

        journalctl's JSON gives a field that is not text as a list of byte values.
        """
        self.sync()
        out = self._bed.run(
            "journalctl", "--all", "--output=json", f"CONTAINER_ID_FULL={container_id}"
        )
        return [json.loads(line) for line in out.splitlines()]


def message(entry: dict[str, Any]) -> bytes:
    """The bytes of an entry's MESSAGE."""
    value = entry["MESSAGE"]
    return value.encode() if isinstance(value, str) else bytes(value or b"")
