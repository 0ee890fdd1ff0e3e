"""C21.9: an fd that somebody passes to conmon does not hold it up, however long its close takes."""

from __future__ import annotations

import array
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import Container
from harness_attach import AttachClient, connect
from harness_os import TIMEOUT_S, Process
from harness_rooms import STANDIN

OLD_KERNEL = str(STANDIN / "no-passrights")

#: Sends datagrams, each with a TCP socket whose close takes ten minutes: it lingers, and its peer
#: reads nothing.
SENDER = """\
import array, socket, struct, sys
path, port, count, before = sys.argv[1], *map(int, sys.argv[2:])
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
    rights = array.array("i", [0] * before + [slow.fileno()])
    to.sendmsg([b"STATUS=%d" % number], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
"""


class Peer:
    """Accepts what connects, and reads nothing of it until it closes all."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port: int = self._listener.getsockname()[1]

    def close(self) -> None:
        self._listener.close()  # resets the connections: who lingers lingers no longer


def start(container: Container, command: str, wrapper: Sequence[str] = ()) -> int:
    (container.bundle / "notify").mkdir()
    host = container.root / "run" / "host.sock"
    container.allow("run/host.sock", "bundle/notify/notify.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(host))
    container.on_close(listener.close)
    container.command(command)
    container.launch("--sdnotify-socket", str(host), wrapper=wrapper)
    return container.started()


def send(container: Container, port: int, count: int, before: int) -> None:
    """Have another process send the datagrams while the monitor stands still.

    So nobody but the monitor has the sockets when it takes them.
    """
    short = container.root / "n"
    short.symlink_to(container.bundle / "notify" / "notify.sock")
    container.allow("n")
    words = [sys.executable, "-I", "-c", SENDER, str(short), str(port), str(count), str(before)]
    container.monitor.signal(signal.SIGSTOP)
    subprocess.run(words, timeout=TIMEOUT_S, check=True)
    container.monitor.signal(signal.SIGCONT)


@pytest.mark.ours("the container holds it up for as long as it likes")
@pytest.mark.parametrize(("count", "before", "limit"), [(1, 0, 1024), (4, 0, 1024), (1, 252, 200)])
def test_close_that_lingers(container: Container, count: int, before: int, limit: int) -> None:
    """C21.9: exit files and conmon's end come at once, though what was passed cannot be closed.

    Nor is it waited for where so many came that there is no number for it (`before`, `limit`).
    """
    peer = Peer()
    try:
        fifo = container.fifo("go")
        wrapper = ["prlimit", f"--nofile={limit}", "--"]
        process = Process(start(container, "read -r _ <go; exit 4", wrapper))
        send(container, peer.port, count, before)
        container.open_fifo(fifo)
        process.wait_gone()
        process.close()
        assert container.end() == 4
    finally:
        peer.close()


#: The same with a file of FUSE, whose server ends then: close(2) of it waits for an answer. Beside
#: it the server's own fd, which keeps the connection alive.
FUSE = """\
import array, ctypes, os, socket, struct, sys, threading
path, note, where = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
libc.unshare(0x20000)  # CLONE_NEWNS
libc.mount(b"none", b"/", None, 0x44000, None)  # MS_REC | MS_PRIVATE
server = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % server
if libc.mount(b"x", where.encode(), b"fuse.x", 0, options):
    sys.exit(75)
def attributes(inode, mode):
    return struct.pack("<Q52xII12xI4x", inode, mode, 1, 4096)
def serve():
    while True:
        _, what, unique, node = struct.unpack_from("<IIQQ", os.read(server, 1 << 20))
        if what == 26:  # FUSE_INIT
            answer = struct.pack("<4IHHII32x", 7, 31, 4096, 0, 12, 10, 4096, 1)
        elif what == 1:  # FUSE_LOOKUP
            answer = struct.pack("<QQQQII", 2, 0, 100, 100, 0, 0) + attributes(2, 0o100666)
        elif what == 3:  # FUSE_GETATTR
            mode = 0o40777 if node == 1 else 0o100666
            answer = struct.pack("<QII", 100, 0, 0) + attributes(node, mode)
        elif what == 14:  # FUSE_OPEN
            answer = struct.pack("<QII", 1, 0, 0)
        elif what == 25:  # FUSE_FLUSH
            answer = b""
        elif what == 2:  # FUSE_FORGET
            continue
        else:
            os.write(server, struct.pack("<IiQ", 16, -38, unique))
            continue
        os.write(server, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)
threading.Thread(target=serve, daemon=True).start()
file = os.open(where + "/f", os.O_RDWR)
with open(note, "w") as out:
    out.write(str(os.minor(os.fstat(file).st_dev)))
to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
to.connect(path)
rights = array.array("i", [file, server])
to.sendmsg([b"STATUS=x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
os.close(file)
os._exit(0)
"""


@pytest.mark.ours("it cannot even be killed then")
@pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="no /dev/fuse")
def test_file_whose_close_never_returns(container: Container) -> None:
    """C21.9: nor does a file of FUSE that somebody passes; a child of conmon's waits for it."""
    fifo = container.fifo("go")
    process = Process(start(container, "read -r _ <go; exit 4"))
    note, mount = container.root / "tmp" / "note", container.root / "tmp" / "mount"
    mount.mkdir()
    container.allow("tmp/note", "n")
    short = container.root / "n"
    short.symlink_to(container.bundle / "notify" / "notify.sock")
    words = [sys.executable, "-I", "-c", FUSE, str(short), str(note), str(mount)]
    try:
        if subprocess.run(words, timeout=TIMEOUT_S, check=False).returncode == 75:
            pytest.skip("a file system of FUSE cannot be mounted")
        container.open_fifo(fifo)
        process.wait_gone()
        process.close()
        assert container.end() == 4
    finally:
        abort(note.read_text() if note.exists() else "")


def abort(connection: str) -> None:
    """Have all that wait for a server of FUSE go on; it may be gone already."""
    directory = "/sys/fs/fuse/connections"
    script = f"mount -t fusectl none {directory}; echo 1 >{directory}/$0/abort"
    if connection:
        subprocess.run(["unshare", "-m", "sh", "-c", script, connection], check=False)


@pytest.mark.ours("it holds the end up for as long as the client likes")
def test_attach_client_that_passes_one(container: Container) -> None:
    """C21.9: where the kernel lets an attach client pass fds (before Linux 6.16), such a client is
    disconnected, and neither it nor the end is waited for.
    """
    peer = Peer()
    container.options["-i"] = None
    container.command("read -r _ <go; exit 5")
    fifo = container.fifo("go")
    try:
        container.launch(wrapper=[OLD_KERNEL])
        process = Process(container.started())
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            connect(client, container.bundle / "attach")
            pass_slow_socket(client, peer.port)
            with contextlib.suppress(ConnectionResetError):  # it is not read what came with it
                assert client.recv(1) == b""
        container.open_fifo(fifo)
        process.wait_gone()
        process.close()
        assert container.end() == 5
    finally:
        peer.close()


@pytest.mark.ours("it holds the end up for as long as the client likes")
def test_what_a_client_leaves_unread(container: Container) -> None:
    """C21.9: nor are those waited for that it passed while the container took no input."""
    peer = Peer()
    container.options["-i"] = None
    container.command("echo ready; read -r _ <go; exit 6")
    fifo = container.fifo("go")
    try:
        container.launch(wrapper=[OLD_KERNEL])
        process = Process(container.started())
        client = container.attach()
        for _ in range(5):  # more than stdin and the monitor hold
            client.send(b"x" * 32768)
        pass_slow_socket(client, peer.port)
        client.close()
        container.open_fifo(fifo)
        process.wait_gone()
        process.close()
        assert container.end() == 6
    finally:
        peer.close()


@pytest.mark.ours("it holds the end up for as long as the client likes")
def test_client_that_passes_one_and_goes(container: Container) -> None:
    """C21.9: nor is it waited for where such a client leaves at once, with output unread."""
    peer = Peer()
    container.options["-i"] = None
    container.command("echo hello; read -r _ <go; exit 7")
    start_fifo, fifo = container.fifo("start"), container.fifo("go")
    try:
        container.launch(wrapper=[OLD_KERNEL])
        process = Process(container.started())
        client = container.attach()
        container.open_fifo(start_fifo)
        container.wait_log(b"hello")
        container.monitor.signal(signal.SIGSTOP)
        pass_slow_socket(client, peer.port)
        client.close()
        container.monitor.signal(signal.SIGCONT)
        container.open_fifo(fifo)
        process.wait_gone()
        process.close()
        assert container.end() == 7
    finally:
        peer.close()


def pass_slow_socket(over: socket.socket | AttachClient, port: int) -> None:
    """Send a packet with a socket whose last close takes ten minutes."""
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.setblocking(False)
        try:
            while True:
                slow.send(bytes(65536))
        except BlockingIOError:
            pass
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
        rights = array.array("i", [slow.fileno()])
        with socket.fromfd(over.fileno(), socket.AF_UNIX, socket.SOCK_SEQPACKET) as sender:
            sender.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


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
