"""C21.1: sessions and containers that end without reading what was sent to them.

Whoever called podman gets all of the output, and the code; each is tried several times.
"""

import subprocess
import threading
import time
from typing import IO

import pytest

from .bed import IMAGE
from .client import Podman
from .terminal import Terminal

TIMES = 3
NUMBERS = b"".join(b"%d\n" % number for number in range(1, 60001))
# More than the session's stdin and its monitor take. And less than the socket takes besides: while
# podman waits to send more, that is told of a reset, and its reader would not hear of it.
INPUT = NUMBERS[:200_000]
QUICK = ("sh", "-c", "seq 60000; exit 3")


@pytest.fixture
def box(podman: Podman) -> str:
    """A detached container to exec in."""
    return podman.run_detached(IMAGE, "sleep", "1000")


def feed(stdin: IO[bytes]) -> None:
    """Write all of the input, or as much as is taken."""
    try:
        with stdin:
            stdin.write(INPUT)
    except BrokenPipeError:
        pass


def read_slowly(stdout: IO[bytes]) -> bytes:
    """What comes, at a reader's pace: it has hardly begun when all was written."""
    parts = []
    pause = 0.5
    while part := stdout.read(16384):
        parts.append(part)
        time.sleep(pause)
        pause = 0.005
    return b"".join(parts)


def much_input_slow_reader(podman: Podman, *args: str) -> tuple[int, bytes]:
    """``seq 34000 | podman ARGS | slow reader``: the code, and what was read."""
    with podman.start(*args) as process:
        assert process.stdin and process.stdout
        feeder = threading.Thread(target=feed, args=[process.stdin])
        feeder.start()
        data = read_slowly(process.stdout)
        feeder.join(timeout=30)
        assert not feeder.is_alive()
        return process.wait(timeout=30), data


@pytest.mark.parametrize("_", range(TIMES))
def test_quick_session(podman: Podman, box: str, _: int) -> None:
    """C21.1: ``echo x | podman exec -i C echo hello`` always says hello."""
    assert podman("exec", "-i", box, "echo", "hello", stdin=b"x\n").out == b"hello\n"


@pytest.mark.parametrize("_", range(TIMES))
def test_session_with_a_slow_reader(podman: Podman, box: str, _: int) -> None:
    """C21.1: more output than a pipe holds, more input than anybody reads."""
    code, data = much_input_slow_reader(podman, "exec", "-i", box, *QUICK)
    assert (code, len(data)) == (3, len(NUMBERS))
    assert data == NUMBERS


@pytest.mark.parametrize("_", range(TIMES))
def test_container_with_a_slow_reader(podman: Podman, _: int) -> None:
    """C21.1: the same of podman run."""
    code, data = much_input_slow_reader(podman, "run", "-i", "--rm", IMAGE, *QUICK)
    assert (code, len(data)) == (3, len(NUMBERS))
    assert data == NUMBERS


@pytest.mark.parametrize("_", range(TIMES))
def test_terminal_whose_input_ends_at_once(podman: Podman, box: str, _: int) -> None:
    """C21.1: exec -it with the end of input typed before the session is there."""
    with Terminal(podman, "exec", "-it", box, "sh", "-c", "tty; exit 4") as terminal:
        terminal.type(b"\x04")
        code, shown = terminal.end()
    assert code == 4
    assert b"/dev/pts/" in shown


def test_session_that_cannot_start(podman: Podman, box: str) -> None:
    """C21.1: behind the runtime's message no word of a connection that was reset."""
    argv = podman.argv(("exec", "-i", box, "/no/such/program"))
    done = subprocess.run(argv, check=False, input=b"x\n", capture_output=True, timeout=60)
    assert done.returncode == 127
    assert b"reset" not in done.stderr
