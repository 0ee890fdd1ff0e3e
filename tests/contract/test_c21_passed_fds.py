"""C21.9: an fd that somebody passes to conmon does not hold it up, however long its close takes."""

from __future__ import annotations

import array
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Container
from harness_attach import connect
from harness_os import TIMEOUT_S, Process

#: Sends datagrams, each with a TCP socket whose close takes ten minutes: it lingers, and its peer
#: reads nothing.
SENDER = """\
import array, socket, struct, sys
path, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
to.connect(path)
for number in range(count):
    slow = socket.create_connection(("127.0.0.1", port))
    slow.setblocking(False)
    try:
        while True:
            slow.send(bytes(65536))
    except BlockingIOError:
        pass
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
    rights = array.array("i", [slow.fileno()])
    to.sendmsg([b"STATUS=%d" % number], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
"""


class Peer:
    """Accepts what connects, and reads nothing of it until it closes all."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port: int = self._listener.getsockname()[1]

    def close(self) -> None:
        self._listener.close()  # resets the connections: who lingers lingers no longer


def start(container: Container, command: str) -> int:
    (container.bundle / "notify").mkdir()
    host = container.root / "run" / "host.sock"
    container.allow("run/host.sock", "bundle/notify/notify.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(host))
    container.on_close(listener.close)
    container.command(command)
    container.launch("--sdnotify-socket", str(host))
    return container.started()


def send(container: Container, port: int, count: int) -> None:
    """Have another process send the datagrams while the monitor stands still.

    So nobody but the monitor has the sockets when it takes them.
    """
    short = container.root / "n"
    short.symlink_to(container.bundle / "notify" / "notify.sock")
    container.allow("n")
    words = [sys.executable, "-I", "-c", SENDER, str(short), str(port), str(count)]
    container.monitor.signal(signal.SIGSTOP)
    subprocess.run(words, timeout=TIMEOUT_S, check=True)
    container.monitor.signal(signal.SIGCONT)


@pytest.mark.ours("the container holds it up for as long as it likes")
@pytest.mark.parametrize("count", [1, 4])
def test_close_that_lingers(container: Container, count: int) -> None:
    """C21.9: exit files and conmon's end come at once, though what was passed cannot be closed."""
    peer = Peer()
    try:
        fifo = container.fifo("go")
        process = Process(start(container, "read -r _ <go; exit 4"))
        send(container, peer.port, count)
        container.open_fifo(fifo)
        process.wait_gone()
        process.close()
        assert container.end() == 4
    finally:
        peer.close()


@pytest.mark.ours("it takes fds and closes them")
def test_attach_client_passes_none(container: Container) -> None:
    """C21.9: over the attach socket no fd can be passed at all; the sender is told (Linux 6.16)."""
    container.command("read -r _ <go; exit 5")
    fifo = container.fifo("go")
    container.launch()
    container.started()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        connect(client, container.bundle / "attach")
        rights = array.array("i", [0])
        if refuses_fds():
            with pytest.raises(PermissionError):
                client.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    container.open_fifo(fifo)
    assert container.end() == 5


def refuses_fds() -> bool:
    """Whether this kernel knows SO_PASSRIGHTS."""
    release = Path("/proc/sys/kernel/osrelease").read_text()
    major, minor = release.split(".")[:2]
    return (int(major), int(minor)) >= (6, 16)
