"""C14: the sd-notify relay."""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from harness import Container
from harness_attach import connect
from harness_os import TIMEOUT_S, Deadline, wait_fd
from harness_proc import context_switches, no_fd_left, settled
from harness_syslog import Syslog

RECV = 1 << 17


class Host:
    """The host's service manager: a datagram socket, in a file or abstract."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)

    def next(self, seconds: float = TIMEOUT_S) -> bytes:
        assert wait_fd(self._socket.fileno(), Deadline(seconds)), "no notification"
        return self._socket.recv(RECV)

    def lines_until(self, line: bytes) -> list[bytes]:
        """All lines up to this one, however they come in datagrams."""
        heard: list[bytes] = []
        deadline = Deadline()
        while line not in heard:
            heard += self.next(deadline.left_ms() / 1000).split(b"\n")
        return heard

    def nothing(self) -> bool:
        return not wait_fd(self._socket.fileno(), Deadline(0))

    def close(self) -> None:
        """Go away, with the name."""
        self._socket.close()
        if not self.name.startswith("@"):
            os.unlink(self.name)


def inside(container: Container) -> Path:
    """The socket that the container sends to."""
    return container.bundle / "notify" / "notify.sock"


def send(container: Container, data: bytes) -> None:
    """Send one datagram as a process of the container does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        connect(sender, inside(container))
        sender.send(data)


def launch(container: Container, name: str, *options: str, **settings: Any) -> None:
    """A container that waits, whose notifications go to the socket `name`."""
    (container.bundle / "notify").mkdir(exist_ok=True)
    container.allow("bundle/notify/notify.sock")
    container.fifo("start")
    container.command("exit 0")
    container.launch("--sdnotify-socket", name, *options, **settings)
    container.started()


@pytest.fixture
def host(container: Container) -> Host:
    """A host's socket in a file, with a container that speaks to it."""
    host = Host(str(container.root / "run" / "host.sock"))
    container.on_close(host._socket.close)
    container.allow("run/host.sock")
    return host


def end(container: Container) -> None:
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0


@pytest.mark.ours("such a container cannot be started any more")
def test_directory_in_the_place_of_the_socket(container: Container, host: Host) -> None:
    """C14: a container that has left a directory there starts again, and is heard."""
    (container.bundle / "notify" / "notify.sock" / "sub").mkdir(parents=True)
    launch(container, host.name)
    send(container, b"READY=1")
    assert host.next() == b"READY=1"
    (aside,) = [path for path in inside(container).parent.iterdir() if path.is_dir()]
    assert (aside / "sub").is_dir()
    end(container)


def test_socket(container: Container, host: Host) -> None:
    """C14: a datagram socket in the bundle, mode 0777: the container has users of its own."""
    launch(container, host.name)
    about = inside(container).stat()
    assert stat.S_ISSOCK(about.st_mode)
    assert stat.S_IMODE(about.st_mode) == 0o777
    end(container)


NOT_READY = pytest.mark.ours("older versions pass on READY=1 only")


@pytest.mark.parametrize(
    "line",
    [
        b"READY=1",
        *(
            pytest.param(line, marks=NOT_READY)
            for line in (
                *(b"RELOADING=1", b"STOPPING=1", b"WATCHDOG=1", b"WATCHDOG=trigger"),
                *(b"STATUS=", b"STATUS=all is well = good", b"STATUS=\xff\x01\t", b"ERRNO=2"),
                *(b"BUSERROR=org.x.Y", b"MONOTONIC_USEC=123"),
            )
        ),
    ],
)
def test_passed_on(container: Container, host: Host, line: bytes) -> None:
    """C14: what tells of the container's state."""
    launch(container, host.name)
    send(container, line)
    assert host.next() == line
    end(container)


@NOT_READY
def test_filter(container: Container, host: Host) -> None:
    """C14: what speaks of processes and fds, and what only looks alike, is dropped."""
    launch(container, host.name)
    for line in (
        *(b"MAINPID=1", b"BARRIER=1", b"EXTEND_TIMEOUT_USEC=1", b"FDSTORE=1", b"FDNAME=x"),
        *(b"READY=0", b"READY=1 ", b"READY=", b"READY=11", b"READY", b" READY=1", b"ready=1"),
        *(b"RELOADING=0", b"STOPPING=0", b"WATCHDOG=2", b"WATCHDOG=", b"WATCHDOG_USEC=1"),
        *(b"XSTATUS=1", b"STATUS", b"", b"\n\n", b"READY=1\0", b"MAINPID=1\nBARRIER=1"),
    ):
        send(container, line)
    send(container, b"STATUS=last")
    assert host.next() == b"STATUS=last"
    assert host.nothing()
    end(container)


@NOT_READY
def test_nothing_behind_a_datagram_is_read(container: Container, host: Host) -> None:
    """C14: a datagram that ends inside a name is dropped, whatever an earlier one has left."""
    launch(container, host.name)
    names = [b"STATUS=", b"ERRNO=", b"BUSERROR=", b"MONOTONIC_USEC=", b"READY=1", b"STOPPING=1"]
    for name in names:
        for size in range(1, len(name)):
            send(container, b"X" * size + name[size:] + b"left over")
            send(container, name[:size])
    send(container, b"STATUS=last")
    assert host.next() == b"STATUS=last"
    assert host.nothing()
    end(container)


@NOT_READY
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"READY=1\nSTATUS=a\n", b"READY=1\nSTATUS=a"),
        (b"MAINPID=3\nREADY=1\nX=1\nSTATUS=b", b"READY=1\nSTATUS=b"),
        (b"\r\nREADY=1\r\n\r\nERRNO=1\r\r", b"READY=1\nERRNO=1"),
        (b"STATUS=1\nSTATUS=2", b"STATUS=1\nSTATUS=2"),
    ],
)
def test_one_datagram(container: Container, host: Host, message: bytes, expected: bytes) -> None:
    """C14: one datagram in, one out: the kept lines in their order, newlines between them."""
    launch(container, host.name)
    send(container, message)
    assert host.next() == expected
    end(container)


@NOT_READY
def test_largest_datagram(container: Container, host: Host) -> None:
    """C14: 32768 bytes in one datagram."""
    launch(container, host.name)
    message = b"READY=1\nSTATUS=" + b"x" * (32768 - 15)
    send(container, message)
    assert host.next() == message
    send(container, b"STATUS=small")
    assert host.next() == b"STATUS=small"
    end(container)


@pytest.mark.ours("abstract sockets do not work")
def test_abstract_socket(container: Container) -> None:
    """C14: `@name` is a socket in the abstract namespace (sd_notify(3))."""
    host = Host(f"@conmon-test-{os.getpid()}-{time.monotonic_ns()}")
    container.on_close(host.close)
    launch(container, host.name)
    send(container, b"READY=1")
    assert host.next() == b"READY=1"
    end(container)


@pytest.mark.parametrize("length", [107, 106, 20])
def test_longest_path_of_the_host(container: Container, length: int) -> None:
    """C14: every path that fits into a socket address: 107 bytes."""
    directory = Path(f"/tmp/conmon-notify-{os.getpid()}")
    directory.mkdir()
    container.on_close(directory.rmdir)
    host = Host(str(directory / "s").ljust(length, "s"))
    container.on_close(host.close)
    launch(container, host.name)
    send(container, b"READY=1")
    assert host.next() == b"READY=1"
    end(container)


@pytest.mark.ours("it cuts the path")
def test_path_of_the_host_that_is_too_long(container: Container) -> None:
    """C14: nothing could ever be sent there: that is told, and no relay is pretended."""
    (container.bundle / "notify").mkdir()
    container.command("exit 0")
    assert container.run("--sdnotify-socket", "/" + "s" * 107) == 0
    assert b"Notifications are not relayed, the socket's path is too long" in container.stderr
    assert not inside(container).exists()


@pytest.mark.ours("it cuts the path of the socket")
def test_long_bundle_path(container: Container, host: Host) -> None:
    """C14, C12.1: a bundle may be deeper than a socket address is long."""
    bundle = container.bundle / ("d" * 100) / ("e" * 100)
    bundle.mkdir(parents=True)
    os.mkfifo(bundle / "gate")
    container.options["-b"] = str(bundle)
    container.bundle = bundle
    relative = str(bundle.relative_to(container.root))
    container.allow(*(f"{relative}/{name}" for name in (
        "ctl", "winsz", "notify/notify.sock", "start", "gate", "command"
    )))  # fmt: skip
    launch(container, host.name)
    send(container, b"READY=1")
    assert host.next() == b"READY=1"
    end(container)


def test_old_socket_is_replaced(container: Container, host: Host) -> None:
    """C14: what an earlier run of the container has left is no obstacle."""
    (container.bundle / "notify").mkdir()
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    container.on_close(stale.close)
    fd = os.open(container.bundle / "notify", os.O_PATH)
    stale.bind(f"/proc/self/fd/{fd}/notify.sock")
    os.close(fd)
    container.allow("bundle/notify/notify.sock")
    container.fifo("start")
    container.command("exit 0")
    container.launch("--sdnotify-socket", host.name)
    container.started()
    send(container, b"READY=1")
    assert host.next() == b"READY=1"
    end(container)


def test_last_words(container: Container, host: Host) -> None:
    """C14: what was sent right before the end is passed on."""
    (container.bundle / "notify").mkdir()
    container.allow("bundle/notify/notify.sock")
    last = b"READY=1" if container.peer else b"STOPPING=1"
    container.put("message", last)
    container.command("socat -u OPEN:message UNIX-SENDTO:notify/notify.sock; exit 3")
    container.launch("--sdnotify-socket", host.name)
    container.started()
    assert container.end() == 3
    assert host.next(0) == last


@pytest.mark.ours("one failed send ends the relay for good (C20.13)")
def test_host_that_is_away(container: Container, host: Host) -> None:
    """C20.13: what is said while the host's socket is away is passed on when it is back."""
    host.close()
    launch(container, host.name)
    send(container, b"READY=1\nSTATUS=up")
    send(container, b"STATUS=second")
    settled(container.monitor.pid)
    back = Host(host.name)
    container.on_close(back._socket.close)
    container.allow("run/host.sock")
    heard = back.lines_until(b"STATUS=second")
    assert heard == [b"READY=1", b"STATUS=up", b"STATUS=second"]
    send(container, b"STATUS=third")
    assert back.next() == b"STATUS=third"
    end(container)


@pytest.mark.ours("one failed send ends the relay for good (C20.13)")
def test_each_message_that_was_kept_is_a_datagram(container: Container, host: Host) -> None:
    """C14, C20.13: messages that had to wait keep their borders.

    systemd handles the lines of one datagram in an order of its own, so RELOADING=1 and then
    READY=1 in one would leave the service reloading; and it ignores a datagram over 4096 bytes.
    """
    host.close()
    launch(container, host.name)
    sent = [b"RELOADING=1", b"READY=1", b"STATUS=" + b"x" * 3000, b"STATUS=" + b"y" * 3000]
    for message in sent:
        send(container, message)
    settled(container.monitor.pid)
    back = Host(host.name)
    container.on_close(back._socket.close)
    assert [back.next() for _ in sent] == sent
    end(container)


@pytest.mark.ours("one failed send ends the relay for good (C20.13)")
def test_what_counts_is_kept(container: Container, host: Host) -> None:
    """C20.13: while the host is away for long, chatter does not push READY=1 out.

    Memory is bounded: of what has to wait old STATUS lines may be forgotten, the last one not.
    """
    host.close()
    launch(container, host.name)
    send(container, b"READY=1")
    for number in range(100):
        send(container, b"STATUS=%03d %s" % (number, b"x" * 1000))
    send(container, b"STATUS=last")
    settled(container.monitor.pid)
    back = Host(host.name)
    container.on_close(back._socket.close)
    assert b"READY=1" in back.lines_until(b"STATUS=last")
    end(container)


@pytest.mark.ours("one failed send ends the relay for good (C20.13)")
def test_host_that_is_full(container: Container, host: Host) -> None:
    """C20.13: a host that does not read blocks nothing; when it reads, it gets what counts."""
    launch(container, host.name)
    for number in range(100):  # more than a socket queues (max_dgram_qlen)
        send(container, b"STATUS=%d" % number)
    send(container, b"READY=1")
    client = container.attach()  # conmon is live
    client.close()
    heard = host.lines_until(b"READY=1")
    assert heard[0] == b"STATUS=0"
    numbers = [int(line[7:]) for line in heard if line.startswith(b"STATUS=")]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 99
    end(container)


@pytest.mark.ours("one failed send ends the relay for good (C20.13)")
def test_no_fd_left(container: Container, host: Host) -> None:
    """C20.13: what no socket could be had for is passed on when there is one."""
    launch(container, host.name)
    with no_fd_left(container.monitor.pid):
        send(container, b"READY=1")
        settled(container.monitor.pid)
        assert host.nothing()
    assert host.next() == b"READY=1"
    end(container)


@pytest.mark.ours("one failed send ends the relay for good (C20.13)")
def test_host_that_is_away_at_the_end(container: Container, host: Host) -> None:
    """C20.13: a host that stays away holds up no end; one that is back by then gets the rest."""
    host.close()
    launch(container, host.name)
    send(container, b"READY=1")
    settled(container.monitor.pid)
    back = Host(host.name)
    container.on_close(back._socket.close)
    end(container)
    assert back.next(0) == b"READY=1"


def test_host_that_never_is(container: Container, host: Host) -> None:
    """C14: without a host's socket the container lives and ends as usual."""
    host.close()
    launch(container, host.name)
    send(container, b"READY=1")
    end(container)


@pytest.mark.ours("it says nothing of what it loses")
def test_what_nobody_takes_is_reported(container: Container, host: Host) -> None:
    """C14: the administrator hears of notifications that wait, and of those that are lost."""
    syslog = Syslog(container)
    host.close()
    launch(container, host.name, "--syslog", wrapper=syslog.wrapper)
    send(container, b"READY=1")
    assert b"Failed to relay a notification, trying again: " in syslog.next().text
    end(container)
    assert syslog.next().text.endswith(
        b"The last notifications are lost, the host did not take them"
    )


def test_silence_costs_nothing(container: Container, host: Host) -> None:
    """C14, E1: after a message was passed on there is no wake-up."""
    launch(container, host.name)
    send(container, b"READY=1")
    assert host.next() == b"READY=1"
    before = settled(container.monitor.pid)
    time.sleep(0.3)  # the measurement: nothing may happen in it
    assert context_switches(container.monitor.pid) == before
    end(container)


@pytest.mark.ours("it changes the mode by path, which a link leads elsewhere")
def test_mode_of_the_socket_is_not_set_by_path(container: Container) -> None:
    """C14, C21: what a container puts in the socket's place never gets the socket's mode.

    Shown by the calls themselves: the link would have to come between two of them.
    """
    trace = container.root / "run" / "trace"
    container.allow("run/trace", "bundle/notify/notify.sock")
    directory = inside(container).parent
    directory.mkdir(exist_ok=True)
    container.fifo("start")
    container.command("exit 0")
    del container.options["--conmon-pidfile"]
    words = ["strace", "-D", "-qq", "-e", "trace=/chmod|^bind", "-o", str(trace)]
    container.launch("--sync", "--sdnotify-socket", "@nobody", wrapper=words)
    container.started()
    assert stat.S_IMODE(inside(container).stat().st_mode) == 0o777
    container.open_fifo(container.bundle / "start")
    assert container.wait_exit_file() == b"0"
    container.parent_status()
    assert "notify.sock" in trace.read_text()
    assert not re.search(r"^chmod|^fchmodat", trace.read_text(), re.MULTILINE)
