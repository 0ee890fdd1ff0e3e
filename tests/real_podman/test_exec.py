"""podman exec: streams, stdin, exit codes, and what is left afterwards."""

import random
import subprocess
from pathlib import Path

import pytest

from . import crilog
from .bed import IMAGE
from .client import Podman
from .terminal import Terminal
from .wait import until


@pytest.fixture
def box(podman: Podman) -> str:
    """A detached container to exec in."""
    return podman.run_detached(IMAGE, "sleep", "1000")


def test_streams_and_exit_code(podman: Podman, box: str) -> None:
    """C6.3, C12.3: each stream on its own, and the session's exit code."""
    result = podman("exec", box, "sh", "-c", "echo out; echo err >&2; exit 37", code=37)
    assert (result.out, result.err) == (b"out\n", b"err\n")


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 126", 126), ("exit 127", 127), ("kill -9 $$", 137)],
)
def test_exit_codes(podman: Podman, box: str, script: str, code: int) -> None:
    """C16: the session's code, 128+N when it dies of signal N."""
    podman("exec", box, "sh", "-c", script, code=code)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [("/bin/not-executable", 126, b"ermission denied"), ("/no/such/file", 127, b"/no/such/file")],
)
def test_command_that_cannot_be_started(
    podman: Podman, box: str, command: str, code: int, words: bytes
) -> None:
    """C4.21, C6.3, C21.7: the runtime's own words reach the user; the container goes on."""
    result = podman("exec", box, command, code=code)
    assert words in result.err
    assert podman("exec", box, "echo", "still here").out == b"still here\n"


def test_stdin_through_and_back(podman: Podman, box: str) -> None:
    """C12.4, C12.5: 5 MB of any bytes pass through the session; their end arrives as EOF."""
    sent = random.Random(4).randbytes(5_000_000)
    assert podman("exec", "-i", box, "cat", stdin=sent).out == sent


def test_large_output(podman: Podman, shared: Path) -> None:
    """C12.3: 1 MB arrives bit for bit, and none of it in the container's log."""
    data = random.Random(5).randbytes(1_000_000)
    podman.give_file(shared / "data", data)
    name = podman.sh("echo mine; exec sleep 1000", "-v", f"{shared}:/shared")
    assert podman("exec", name, "cat", "/shared/data").out == data
    assert crilog.lines(podman.log(name)) == [("stdout", b"mine")]


def test_no_monitor_of_a_session_is_left(podman: Podman, box: str) -> None:
    """C17: a session's monitor ends with it; the container's stays."""
    before = podman.monitor(box)
    podman("exec", box, "true")
    podman("exec", box, "/no/such/file", code=127)
    until(lambda: podman.monitors() == [before], "the sessions' monitors to end")


def test_detached(podman: Podman, shared: Path) -> None:
    """C6.3: exec -d returns the session's id while the session runs on."""
    name = podman.run_detached("-v", f"{shared}:/shared", IMAGE, "sleep", "1000")
    monitor = podman.monitor(name)
    result = podman("exec", "-d", name, "sh", "-c", "echo done > /shared/done")
    assert len(result.text) == 64
    until((shared / "done").exists, "the detached session's file")
    until(lambda: podman.monitors() == [monitor], "the session's monitor to end")


def test_ten_at_a_time(podman: Podman, box: str) -> None:
    """C6, C17: ten sessions started at once each get their own output and code."""
    running = [
        subprocess.Popen(
            podman.argv(("exec", box, "sh", "-c", f"echo I am {i}; exit {i}")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for i in range(10)
    ]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in running]
    assert ended == [(b"I am %d\n" % i, b"", i) for i in range(10)]


def test_session_ends_with_the_container(podman: Podman, box: str) -> None:
    """C16: a session whose container is killed ends with 137."""
    with podman.start("exec", box, "sh", "-c", "echo ready; exec sleep 1000") as session:
        assert session.stdout
        assert session.stdout.readline() == b"ready\n"
        podman("kill", box)
        session.communicate(timeout=30)
    assert session.returncode == 137
    podman.wait_no_monitor()


def test_preserve_fds(podman: Podman, box: str) -> None:
    """D1: a file of the caller's reaches the session as the same descriptor."""
    script = 'exec 3<"$0"; exec "$@"'
    words = podman.argv(("exec", "--preserve-fds=1", box, "cat", "/proc/self/fd/3"))
    at = words.index("podman")
    conf = str(podman.dir / "storage.conf")
    words[at:at] = ["sh", "-c", script, conf]
    done = subprocess.run(words, check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, Path(conf).read_bytes()), done.stderr


def test_terminal(podman: Podman, box: str) -> None:
    """C13: exec -it is a session on a terminal of the caller's size, which it can change."""
    # The shell sleeps, because `read -t` of busybox 1.38 reads nothing any more after a trap.
    work = "while :; do sleep 0.1; done"
    script = f"trap 'echo now $(stty size)' WINCH; trap 'exit 23' INT; echo ready; {work}"
    with Terminal(podman, "exec", "-it", box, "sh", "-c", script) as terminal:
        terminal.read_until(b"ready\r\n")
        terminal.resize(33, 101)
        shown = terminal.read_until(b"now 33 101\r\n")
        assert set(shown.splitlines()) <= {b"now 24 80", b"now 33 101"}
        terminal.type(b"\x03")
        code, _ = terminal.end()
    assert code == 23


def test_terminal_that_cannot_be_started(podman: Podman, box: str) -> None:
    """C4.20, C17: a session on a terminal whose command is missing says so and ends."""
    with Terminal(podman, "exec", "-it", box, "/no/such/file") as terminal:
        code, shown = terminal.end()
    assert code == 127, shown
    assert b"/no/such/file" in shown
