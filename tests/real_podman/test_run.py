"""podman run in the foreground: streams, stdin and exit codes."""

import random
import stat
from pathlib import Path

import pytest

from . import crilog
from .bed import IMAGE
from .client import Podman


def test_streams_and_exit_code(podman: Podman) -> None:
    """C12.3, C17: each stream arrives on its own, and the exit code is the container's."""
    result = podman("run", "--rm", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 37", code=37)
    assert (result.out, result.err) == (b"out\n", b"err\n")


@pytest.mark.parametrize("code", [0, 1, 37, 126, 127, 137, 255])
def test_exit_code_of_the_command(podman: Podman, code: int) -> None:
    """C16: the code that the container's process exits with is the code that podman returns."""
    result = podman("run", "--rm", IMAGE, "sh", "-c", f"exit {code}", code=code)
    assert (result.out, result.err) == (b"", b"")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    # crun 1.8 does not name a file that is not executable.
    [("/bin/not-executable", 126, b"ermission denied"), ("/no/such/file", 127, b"/no/such/file")],
)
def test_command_that_cannot_be_started(
    podman: Podman, command: str, code: int, words: bytes
) -> None:
    """C4.19, C6.3: the runtime's own words reach the user, and nothing is left behind."""
    result = podman("run", "--rm", IMAGE, command, code=code)
    assert words in result.err
    assert result.out == b""
    assert podman("ps", "--all", "--quiet").out == b""
    podman.wait_no_monitor()


def test_failed_start_keeps_the_container_usable(podman: Podman) -> None:
    """C4.19: a container whose command is missing stays, not running, and can be removed."""
    name = podman.name()
    podman("run", "--name", name, IMAGE, "/no/such/file", code=127)
    podman.wait_no_monitor()
    assert podman.inspect(name)["State"]["Running"] is False
    podman("rm", name)


@pytest.mark.ours("leaves the attach socket behind when it ends with an error (C20.17)")
def test_failed_start_leaves_no_socket(podman: Podman) -> None:
    """C20.17: after a failed create no socket is left in the bundle."""
    name = podman.name()
    podman("run", "--name", name, IMAGE, "/no/such/file", code=127)
    podman.wait_no_monitor()
    bundle = podman.dir / "graph"
    left = [p for p in bundle.rglob("userdata/*") if stat.S_ISSOCK(p.lstat().st_mode)]
    assert left == []


def test_unwritable_log(podman: Podman) -> None:
    """C3: a log that cannot be opened fails the run and is named; no monitor stays."""
    path = podman.dir / "no-such-directory" / "ctr.log"
    result = podman("run", "--rm", "--log-opt", f"path={path}", IMAGE, "echo", "never", code=None)
    assert result.code not in (0, 37)
    assert result.out == b""
    assert b"Failed to open log file" in result.err
    podman.wait_no_monitor()


def test_stdin_through_and_back(podman: Podman) -> None:
    """C12.4, C12.5: 5 MB of any bytes pass through the container; their end arrives as EOF."""
    sent = random.Random(1).randbytes(5_000_000)
    result = podman("run", "--rm", "-i", IMAGE, "cat", stdin=sent)
    assert result.out == sent
    assert result.err == b""


def test_without_i_stdin_is_empty(podman: Podman) -> None:
    """C4.16: without -i the container reads EOF at once, whatever podman's stdin holds."""
    result = podman("run", "--rm", IMAGE, "wc", "-c", stdin=b"not for the container")
    assert result.out.strip() == b"0"


def test_large_output(podman: Podman, shared: Path) -> None:
    """C8.2, C8.3: 1 MB in lines of any length is the same in the log and at the user's end."""
    rng = random.Random(2)
    pieces = []
    size = 0
    while size < 1_000_000:
        line = rng.randbytes(rng.choice((0, 1, 10, 100, 1000, 8191, 8192, 8193, 30_000)))
        line = line.replace(b"\n", b" ") + b"\n"
        pieces.append(line)
        size += len(line)
    data = b"".join(pieces) + b"the end, without a newline"
    source = podman.give_file(shared / "data", data)
    log = shared / "ctr.log"
    result = podman(
        *("run", "--rm", "-v", f"{shared}:/shared", "--log-opt", f"path={log}"),
        *(IMAGE, "cat", f"/shared/{source.name}"),
    )
    assert result.out == data
    records = crilog.parse(log.read_bytes())
    assert crilog.joined(records, "stdout") == data
    assert {r.stream for r in records} == {"stdout"}


def test_both_streams_large(podman: Podman, shared: Path) -> None:
    """C8, C12.3: two streams written at the same time do not mix, in the log or at the user."""
    podman.give_file(shared / "out", b"".join(b"out %d\n" % i for i in range(20_000)))
    podman.give_file(shared / "err", b"".join(b"error %d\n" % i for i in range(20_000)))
    log = shared / "ctr.log"
    script = "cat /shared/err >&2 & cat /shared/out; wait"
    result = podman(
        *("run", "--rm", "-v", f"{shared}:/shared", "--log-opt", f"path={log}"),
        *(IMAGE, "sh", "-c", script),
    )
    records = crilog.parse(log.read_bytes())
    for stream, seen, file in (("stdout", result.out, "out"), ("stderr", result.err, "err")):
        expected = (shared / file).read_bytes()
        assert crilog.joined(records, stream) == expected
        assert seen == expected


def test_user_can_reopen_stdout(podman: Podman) -> None:
    """C4.16: a process that is not root in its container may open /dev/stdout anew."""
    script = "echo one > /dev/stdout; echo two > /dev/stderr"
    result = podman("run", "--rm", "--user", "nobody", IMAGE, "sh", "-c", script)
    assert (result.out, result.err) == (b"one\n", b"two\n")


def test_log_driver_none(podman: Podman) -> None:
    """C9: without a log the output still reaches the user."""
    result = podman("run", "--rm", "--log-driver", "none", IMAGE, "sh", "-c", "echo a; echo b >&2")
    assert (result.out, result.err) == (b"a\n", b"b\n")
