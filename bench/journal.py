"""A systemd-journald of our own, in a mount namespace of our own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.bench import CannotMeasureError
from bench.container import TIMEOUT_S, BenchError
from bench.kernel import has_own_mounts

DAEMON = Path("/lib/systemd/systemd-journald")
SOCKET = Path("/run/systemd/journal/socket")
# No limit of the rate: what journald throws away would cost it nothing.
CONFIG = """
[Journal]
Storage=volatile
RateLimitIntervalSec=0
RuntimeMaxUse=4G
RuntimeKeepFree=1G
ForwardToSyslog=no
ReadKMsg=no
Audit=no
"""


# A network namespace has its own limit of the queue, for sockets that are made in it.
START = 'echo "$1" >/proc/sys/net/unix/max_dgram_qlen && exec "$2"'


@contextmanager
def journald(queue: int) -> Iterator[None]:
    """Run it over the usual socket, whose queue holds so many datagrams.

    CannotMeasureError without root or without systemd.
    """
    if not has_own_mounts():
        raise CannotMeasureError("a journald of our own needs root")
    if not DAEMON.exists():
        raise CannotMeasureError("there is no systemd-journald")
    places = [Path("/run/systemd"), Path("/run/log")]
    if Path("/var/log/journal").is_dir():
        places.append(Path("/var/log/journal"))
    for place in places:
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", place], check=True)
    try:
        (SOCKET.parent).mkdir()
        machine = Path("/etc/machine-id").read_text().strip()
        Path("/run/log/journal", machine).mkdir(parents=True)
        config = Path("/run/systemd/journald.conf.d/bench.conf")
        config.parent.mkdir()
        config.write_text(CONFIG)
        command = ["unshare", "--net", "sh", "-c", START, "sh", str(queue), str(DAEMON)]
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for_socket()
            yield
        finally:
            daemon.terminate()
            daemon.wait(TIMEOUT_S)
    finally:
        for place in reversed(places):
            subprocess.run(["umount", "--lazy", place], check=True)


def _wait_for_socket() -> None:
    end = time.monotonic() + TIMEOUT_S
    while not SOCKET.exists():
        if time.monotonic() > end:
            raise BenchError("journald makes no socket")
        time.sleep(0.01)


def count_entries(container_id: str) -> int:
    """How many entries of a container journald has kept."""
    subprocess.run(["journalctl", "--sync"], check=True)
    words = ["journalctl", "--quiet", "--output=json", "--output-fields=PRIORITY"]  # a line each
    words.append(f"CONTAINER_ID_FULL={container_id}")
    count = 0
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while chunk := process.stdout.read(1 << 20):
            count += chunk.count(b"\n")
    return count
