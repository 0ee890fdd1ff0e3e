"""podman run -t and podman attach: containers on a terminal."""

import random
from pathlib import Path

from . import crilog
from .bed import IMAGE
from .client import Podman
from .terminal import Terminal

# Asks for the size once at the start, and once for each signal that says it has changed. Nothing
# is said of a size that is not set yet: podman sends the first one when the container has started.
SIZES = """
trap 'echo size $(stty size 2>/dev/null)' WINCH
echo size $(stty size 2>/dev/null)
while :; do sleep 1000 & wait $!; done
"""
# One key: podman takes a sequence for such only when each key comes in a read of its own.
DETACH_KEYS = "ctrl-x"
DETACH = b"\x18"
INTERRUPT = b"\x03"
END_OF_FILE = b"\x04"


def test_output_and_exit_code(podman: Podman) -> None:
    """C13: on a terminal both streams are one, with carriage returns; the code is as without."""
    script = "tty; echo out; echo err >&2; exit 37"
    with Terminal(podman, "run", "--rm", "-t", IMAGE, "sh", "-c", script) as terminal:
        code, shown = terminal.end()
    assert code == 37
    assert shown.splitlines() == [b"/dev/pts/0", b"out", b"err"]
    assert shown.count(b"\r\n") == 3


def test_log_of_a_terminal(podman: Podman) -> None:
    """C8.3: everything from a terminal is logged as stdout, carriage returns and all."""
    name = podman.sh("echo out; echo err >&2; exit 3", "-t")
    assert podman.wait(name) == 3
    records = podman.log(name)
    assert {record.stream for record in records} == {"stdout"}
    # a terminal hands out its output in pieces, so that one line may be two records
    assert crilog.joined(records, "stdout") == b"out\r\nerr\r\n"


def test_typing(podman: Podman) -> None:
    """C12.4, C13: what is typed reaches the container; end of file ends its input."""
    with Terminal(podman, "run", "--rm", "-it", IMAGE, "sh", "-c", "cat; exit 4") as terminal:
        terminal.type(b"hello\n")
        assert terminal.read_until(b"hello\r\nhello\r\n") == b"hello\r\nhello\r\n"
        terminal.type(END_OF_FILE)
        code, _ = terminal.end()
    assert code == 4


def test_interrupt(podman: Podman) -> None:
    """C13: ctrl-C is for the container's foreground process."""
    script = "trap 'echo interrupted; exit 5' INT; echo ready; sleep 1000 & wait"
    with Terminal(podman, "run", "--rm", "-it", IMAGE, "sh", "-c", script) as terminal:
        terminal.read_until(b"ready\r\n")
        terminal.type(INTERRUPT)
        terminal.read_until(b"interrupted\r\n")
        code, _ = terminal.end()
    assert code == 5


def test_size(podman: Podman) -> None:
    """C13: the container's terminal takes the caller's size, at the start and later."""
    command = ("run", "--rm", "-it", IMAGE, "sh", "-c", SIZES)
    with Terminal(podman, *command, rows=31, columns=97) as terminal:
        shown = terminal.read_until(b"size 31 97\r\n")
        assert set(shown.splitlines()) <= {b"size", b"size 31 97"}
        terminal.resize(40, 120)
        shown = terminal.read_until(b"size 40 120\r\n")
        assert set(shown.splitlines()) <= {b"size 31 97", b"size 40 120"}


def test_detach_and_attach(podman: Podman) -> None:
    """C12.5, C12.6: a client may go and another come; the container does not notice."""
    name = podman.name()
    script = "echo ready; while read line; do echo got $line; done; exit 6"
    options = ("--detach-keys", DETACH_KEYS, "--name", name, "-it")
    with Terminal(podman, "run", *options, IMAGE, "sh", "-c", script) as terminal:
        terminal.read_until(b"ready\r\n")
        terminal.type(DETACH)
        code, _ = terminal.end()
        assert code == 0
    assert podman.inspect(name)["State"]["Running"] is True
    with Terminal(podman, "attach", name) as terminal:
        terminal.type(b"more\n")
        terminal.read_until(b"got more\r\n")
        terminal.type(END_OF_FILE)
        terminal.end()
    assert podman.wait(name) == 6
    assert b"got more\r" in [r.data for r in podman.log(name)]


def test_large_output(podman: Podman, shared: Path) -> None:
    """C13, C17.2: 1 MB through a terminal arrives whole, in the log too, though the end is near."""
    data = random.Random(6).randbytes(750_000).hex().encode()[:1_000_000]
    podman.give_file(shared / "data", data)
    log = shared / "ctr.log"
    with Terminal(
        podman,
        *("run", "--rm", "-t", "-v", f"{shared}:/shared", "--log-opt", f"path={log}"),
        *(IMAGE, "cat", "/shared/data"),
    ) as terminal:
        code, shown = terminal.end()
    assert code == 0
    assert shown == data
    assert crilog.joined(crilog.parse(log.read_bytes()), "stdout") == data


def test_command_that_cannot_be_started(podman: Podman) -> None:
    """C4.20: a container on a terminal whose command is missing says so; nothing hangs."""
    with Terminal(podman, "run", "--rm", "-it", IMAGE, "/no/such/file") as terminal:
        code, shown = terminal.end()
    assert code == 127, shown
    assert b"/no/such/file" in shown
    podman.wait_no_monitor()
