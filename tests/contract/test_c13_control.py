"""C13, C20.4, C20.5: what comes through the ctl and winsz fifos."""

from __future__ import annotations

import os
import signal
import time

import pytest
from harness import Container
from harness_log import lines
from harness_os import is_readable
from harness_proc import context_switches, settled
from harness_terminal import control, size, terminal_name, wait_size, wait_taken, with_terminal

pytestmark = pytest.mark.ours("the fifos wedge, and share a buffer (C20.4, C20.5)")


@pytest.fixture
def terminal(container: Container) -> Container:
    """A container with a terminal of 10 rows and 20 columns, which waits."""
    with_terminal(container)
    container.fifo("go")
    container.command("echo ready; read -r _ <go; exit 5")
    container.launch()
    container.started()
    container.wait_log(b"ready")
    control(container, b"1 10 20\n")
    wait_size(container, 10, 20)
    return container


def end(container: Container) -> None:
    container.open_fifo(container.bundle / "go")
    assert container.end() == 5


def acknowledge(container: Container) -> None:
    """Wait until conmon has done all that was asked of it through the fifos until now.

    It handles what came first first; that the log was reopened is the event to be seen (D2).
    """
    container.wait_until(lambda: True, "")  # takes the events that are there
    before = len(container.events)
    control(container, b"2 0 0\n")
    container.wait_until(
        lambda: (
            ("logs", container.log.name)
            in [(event.directory, event.name) for event in container.events[before:]]
        ),
        "reopened log",
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1 24 80", (24, 80)),
        (b"1 0 0", (0, 0)),
        (b"1 1000 1000", (1000, 1000)),
        (b"1 0 1000", (0, 1000)),
        (b"1 25 81 7", (25, 81)),
        (b"1 26 82 and more", (26, 82)),
        (b"1  27\t83", (27, 83)),
        (b"  1 28 84", (28, 84)),
        (b"01 029 0085", (29, 85)),
        (b"1 30 86" + b" " * 192, (30, 86)),  # 199 bytes
        (b"1 31 87\r", (31, 87)),
    ],
)
def test_resize(terminal: Container, line: bytes, expected: tuple[int, int]) -> None:
    """C13: `1 ROWS COLUMNS`, decimal, more fields do not matter; up to 199 bytes and a newline."""
    control(terminal, line + b"\n")
    wait_size(terminal, *expected)
    end(terminal)


@pytest.mark.parametrize(
    ("line", "expected"),
    [(b"24 80", (24, 80)), (b"1000 0", (1000, 0)), (b"25 81 x", (25, 81))],
)
def test_winsz(terminal: Container, line: bytes, expected: tuple[int, int]) -> None:
    """C13: a line `ROWS COLUMNS` in winsz."""
    control(terminal, line + b"\n", "winsz")
    wait_size(terminal, *expected)
    end(terminal)


REFUSED = [
    *(b"", b" ", b"1", b"1 2", b"one 2 3", b"1 x 3", b"1 2 x", b"x1 2 3", b"\0", b"1 \0 2 3"),
    *(b"0 1 2", b"3 1 2", b"-1 1 2", b"99999999999999999999 1 2", b"257 1 2"),
    *(b"1 1001 2", b"1 2 1001", b"1 -1 2", b"1 2 -1", b"1 4294967298 3", b"1 2 4294967298"),
    *(b"1 99999999999999999999 3", b"2 1001 0", b"2 0", b"2"),
    *(b"1 0x10 3", b"0x1 2 3", b"1.0 2 3", b"1 2.5 3", b"1,2,3", b"1 2 " + b" " * 200 + b"3"),
    *(b"\xff\xfe\x80", b"x" * 199, b"x" * 200, b"x" * 201, b"x" * 10_000),
]


def test_refused(terminal: Container) -> None:
    """C13, C20.4: what is no command changes nothing, and leaves nothing before the next line."""
    inode = terminal.log.stat().st_ino
    for number, line in enumerate(REFUSED):
        control(terminal, line + b"\n")
        acknowledge(terminal)
        assert size(terminal) == (10, 20), line
        assert terminal.log.stat().st_ino == inode, line
        rows = 11 + number
        control(terminal, line + b"\n1 %d 21\n" % rows)
        wait_size(terminal, rows, 21)
        control(terminal, b"1 10 20\n")
        wait_size(terminal, 10, 20)
    end(terminal)


@pytest.mark.parametrize(
    "line", [b"", b"1", b"x 2", b"1 x", b"1001 1", b"1 1001", b"-1 1", b"0x1 2", b"y" * 500, b"\0"]
)
def test_winsz_refused(terminal: Container, line: bytes) -> None:
    """C13, C20.4: the same of winsz: a bad line changes nothing, the next one is good."""
    control(terminal, line + b"\n", "winsz")
    acknowledge(terminal)
    assert size(terminal) == (10, 20)
    control(terminal, line + b"\n30 40\n", "winsz")
    wait_size(terminal, 30, 40)
    end(terminal)


def test_several_lines_in_one_write(terminal: Container) -> None:
    """C13: every line of a write counts, the last one last."""
    lines_ = [b"1 %d %d\n" % (n, n + 1) for n in range(1, 400)]
    control(terminal, b"".join(lines_))
    wait_size(terminal, 399, 400)
    end(terminal)


def test_line_in_parts(terminal: Container) -> None:
    """C13: a line may come in several writes; nothing happens before its newline."""
    for part in (b"1 3", b"3 4", b"4"):
        control(terminal, part)
        wait_taken(terminal.bundle / "ctl")
        assert size(terminal) == (10, 20)
    control(terminal, b"\n")
    wait_size(terminal, 33, 44)
    end(terminal)


def test_short_lines_are_not_joined(terminal: Container) -> None:
    """C20.4: two lines of two numbers are two bad lines, not one good one."""
    control(terminal, b"1 2\n3 4\n")
    acknowledge(terminal)
    assert size(terminal) == (10, 20)
    end(terminal)


def test_fifos_have_buffers_of_their_own(terminal: Container) -> None:
    """C20.4: half a line in one fifo is not continued by the other."""
    control(terminal, b"1 5")
    wait_taken(terminal.bundle / "ctl")
    control(terminal, b"41 42\n", "winsz")
    wait_size(terminal, 41, 42)
    control(terminal, b"1 52\n")
    wait_size(terminal, 51, 52)
    end(terminal)


def test_too_long_without_a_newline(terminal: Container) -> None:
    """C20.4: 150 and 100 bytes without a newline: no spinning, and ctl lives.

    The line goes up to its newline, whatever stands before that; the next one counts.
    """
    control(terminal, b"x" * 150)
    wait_taken(terminal.bundle / "ctl")
    control(terminal, b"x" * 100)
    wait_taken(terminal.bundle / "ctl")
    settled(terminal.monitor.pid)
    control(terminal, b" 1 24 80\n1 25 81\n")
    wait_size(terminal, 25, 81)
    end(terminal)


@pytest.mark.parametrize("name", ["ctl", "winsz"])
@pytest.mark.parametrize("unit", [b"x", b"\0", b"\n", b"1 ", b"\xff\n\0", b"1 2 3 4 5\t"])
def test_a_megabyte_of_garbage(terminal: Container, name: str, unit: bytes) -> None:
    """C20.4: garbage is taken at once and forgotten; the next line counts."""
    control(terminal, (unit * 1_000_000)[:1_000_000] + b"\n", name)
    control(terminal, b"1 24 80\n" if name == "ctl" else b"24 80\n", name)
    wait_size(terminal, 24, 80)
    settled(terminal.monitor.pid)
    end(terminal)


def test_random_bytes(terminal: Container) -> None:
    """C20.4: any bytes at all, in pieces of any size."""
    data = bytes(hash((n, n // 7)) >> 3 & 0xFF for n in range(100_000))
    at, step = 0, 1
    while at < len(data):
        control(terminal, data[at : at + step])
        at, step = at + step, step * 3 % 1009 + 1
    control(terminal, b"\n2 0 0\n1 24 80\n")
    wait_size(terminal, 24, 80)
    end(terminal)


def test_resizes_without_a_terminal(container: Container) -> None:
    """C20.5: 20,000 resizes of a container without a terminal: all is live, then all is quiet."""
    container.fifo("go")
    container.command("read -r _ <go; echo still here; read -r _ <go; exit 6")
    container.launch()
    container.started()
    for _ in range(20):
        control(container, b"1 24 80\n" * 1000)
        control(container, b"24 80\n" * 1000, "winsz")
    before = settled(container.monitor.pid)
    time.sleep(0.3)  # the measurement: nothing may happen in it
    assert context_switches(container.monitor.pid) == before
    client = container.attach()
    container.open_fifo(container.bundle / "go")
    client.read_until(b"still here\n")
    container.open_fifo(container.bundle / "go")
    assert container.end() == 6
    assert lines(container.log.read_bytes()) == [b"still here\n"]


def test_reader_stays_when_writers_go(container: Container) -> None:
    """C4.15: after writers have come and gone ctl has a reader still, and nothing spins."""
    container.fifo("start")
    container.command("exit 0")
    container.launch()
    container.started()
    for _ in range(50):
        control(container, b"1 24 80\n")
        control(container, b"")
    before = settled(container.monitor.pid)
    time.sleep(0.3)  # the measurement: nothing may happen in it
    assert context_switches(container.monitor.pid) == before
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0


def test_terminal_that_has_gone(terminal: Container) -> None:
    """C13: a resize after the container's processes have closed the terminal harms nothing."""
    pid = int(terminal.pidfile.read_bytes())
    fd = os.open(terminal_name(terminal), os.O_RDONLY | os.O_NOCTTY)
    os.kill(pid, signal.SIGKILL)
    assert terminal.end() == 137
    assert is_readable(fd)  # hung up
    os.close(fd)
