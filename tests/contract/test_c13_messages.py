"""C3, C13: what conmon says of bad control lines, heard on syslog: stderr is /dev/null by then."""

from __future__ import annotations

import socket

import pytest
from harness import Container
from harness_rooms import CID
from harness_syslog import Syslog
from harness_terminal import control

LOG_ERR = 8 | 3  # LOG_USER | LOG_ERR
LOG_INFO = 8 | 6

LONG = b"x" * 250


def start(container: Container, *options: str, kind: int = socket.SOCK_DGRAM) -> Syslog:
    """Start a conmon that is called `conmon` and speaks to syslog, a socket of this kind."""
    name = container.root / "tmp" / "conmon"
    name.symlink_to(container.conmon)
    container.allow("tmp/conmon")
    container.conmon = name
    syslog = Syslog(container, kind)
    container.launch("--syslog", *options, wrapper=syslog.wrapper)
    return syslog


def launch(container: Container, *options: str) -> Syslog:
    """The same with a container that waits."""
    container.fifo("start")
    container.command("exit 0")
    syslog = start(container, *options)
    container.started()
    return syslog


def end(container: Container) -> None:
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0


@pytest.mark.parametrize(
    ("fifo", "line", "text"),
    [
        pytest.param(
            *("ctl", b"1 2", b"Invalid control message format"),
            marks=pytest.mark.ours("older versions have other words"),
        ),
        pytest.param(
            *("ctl", b"9 1 2", b"Invalid control message type: 9"),
            marks=pytest.mark.ours("older versions have other words"),
        ),
        pytest.param(
            *("ctl", b"1 1001 2", b"Invalid window size: 1001x2 (must be between 0 and 1000)"),
            marks=pytest.mark.ours("older versions do not look at the size"),
        ),
        pytest.param(
            *("ctl", b"1 2 -1", b"Invalid window size: 2x-1 (must be between 0 and 1000)"),
            marks=pytest.mark.ours("older versions do not look at the size"),
        ),
        pytest.param(
            *("winsz", b"x", b"Failed to parse window size"),
            marks=pytest.mark.ours("it does not read winsz without a terminal (C20.5)"),
        ),
        pytest.param(
            *("ctl", LONG, b"Could not find newline in entire buffer"),
            marks=pytest.mark.ours("it spins (C20.4)"),
        ),
    ],
)
def test_warning(container: Container, fifo: str, line: bytes, text: bytes) -> None:
    """C3, C13: the text; level warning; priority, ident and tag of syslog."""
    syslog = launch(container)
    control(container, line + b"\n", fifo)
    message = syslog.until(text)
    assert message.priority == LOG_INFO
    assert message.ident == b"conmon"
    assert message.text.rstrip(b"\n") == b"conmon %s <nwarn>: %s" % (CID.encode(), text)
    end(container)


@pytest.mark.ours("older versions say other things as well")
def test_level(container: Container) -> None:
    """C2: with --log-level error warnings are not said."""
    syslog = launch(container, "--log-level", "error")
    control(container, b"1 2\n")
    end(container)
    with pytest.raises(AssertionError, match="nothing on syslog"):
        syslog.next(0)


def test_syslog_of_a_stream(container: Container) -> None:
    """C3: /dev/log may be a stream socket: a message then ends with a NUL, as syslog(3) has it."""
    container.fifo("start")
    container.command("exit 0")
    syslog = start(container, kind=socket.SOCK_STREAM)
    container.started()
    control(container, b"1 2\n")
    assert syslog.until(b"Invalid control message format").ident == b"conmon"
    end(container)


def test_syslog_of_a_stream_while_it_starts(container: Container) -> None:
    """C3: the same of what ends a launch."""
    container.put("status", "3")
    syslog = start(container, kind=socket.SOCK_STREAM)
    assert container.report() == {"data": -1}
    assert syslog.until(b"Failed to create container: exit status 3").priority == LOG_ERR
    container.peer_leaves("bundle/attach")


@pytest.mark.parametrize("cid", [CID, "c" * 64])
def test_error(container: Container, cid: str) -> None:
    """C3: what ends conmon is said as an error; 20 bytes of the id name the container."""
    container.options["-c"] = cid
    container.put("stderr", b"boom\n")
    container.put("status", "3")
    syslog = start(container)
    assert container.report() == {"data": -1, "message": "boom\n"}
    message = syslog.until(b"Failed to create container: exit status 3")
    assert message.priority == LOG_ERR
    assert message.ident == b"conmon"
    text = b"conmon %s <error>: Failed to create container: exit status 3" % cid[:20].encode()
    assert message.text.rstrip(b"\n ") == text
    container.peer_leaves("bundle/attach")
