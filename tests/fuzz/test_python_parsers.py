"""What the Python lives read from outside, with random bytes: argv, pid file, console socket.

These are not libFuzzer's: hypothesis makes the inputs, and the sanitized build runs the core's
part of them too (docs/reliability.md).
"""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conmon import _fastio, cli, runtime

WORDS = st.sampled_from(
    [b"--", b"-", b"--timeout", b"--timeout=", b"-T", b"-tie", b"--log-path=", b"--cid=\xff", b"-l"]
)
ARGUMENTS = st.lists(WORDS | st.binary(max_size=40).map(lambda text: text.replace(b"\0", b"")))
PID_TEXT = st.binary(max_size=80) | st.from_regex(rb"\A\s*[0-9]{0,14}\s*\Z")


@given(ARGUMENTS)
def test_any_argv_is_parsed_or_refused(argv: list[bytes]) -> None:
    """C1: whatever stands on the command line, it is taken, or refused with words."""
    said = b"words"
    try:
        cli.parse(argv)
    except cli.UsageError as error:
        said = error.args[0]
    assert said


@pytest.fixture(scope="module")
def pid_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pid") / "pidfile"


@given(text=PID_TEXT)
@example(text=b"")
@example(text=b"0\n")
@example(text=b"-1")
def test_a_pid_file_holds_a_pid_or_none(pid_file: Path, text: bytes) -> None:
    """C20.7: a pid is a whole number above 0 alone in the file; all else is none."""
    pid_file.write_bytes(text)
    right = re.fullmatch(rb"\s*0*([1-9][0-9]*)\s*", text[:64])
    if right and len(text[:64].strip()) < 10:
        assert runtime.read_pid(os.fsencode(pid_file)) == int(right[1])
    else:
        with pytest.raises(ValueError, match=r"^b"):
            runtime.read_pid(os.fsencode(pid_file))


@pytest.fixture(scope="module")
def terminals() -> Iterator[list[int]]:
    """Fds that a runtime may send, all of the same file."""
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
    yield fds
    for fd in fds:
        os.close(fd)


def credentials() -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("3i", os.getpid(), 0, 0)


@given(
    count=st.integers(0, 8),
    with_credentials=st.booleans(),
    data=st.binary(min_size=1, max_size=5000),
)
def test_one_terminal_comes_and_nothing_else_stays(
    terminals: list[int], count: int, with_credentials: bool, data: bytes
) -> None:
    """C13: of a message on the console socket the fds are taken, and no other is left open."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with closing(ours), closing(theirs):
        control: list[tuple[int, int, bytes]] = []
        if count:
            rights = struct.pack(f"{count}i", *terminals[:count])
            control.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, rights))
        if with_credentials:
            control.append(credentials())
        theirs.sendmsg([data], control)
        before = set(os.listdir("/proc/self/fd"))
        fds = _fastio.receive_fds(ours.fileno())
        assert len(fds) <= count
        assert bool(fds) == bool(count)
        for fd, terminal in zip(fds, terminals, strict=False):
            assert os.path.sameopenfile(fd, terminal)
            os.close(fd)
        assert set(os.listdir("/proc/self/fd")) == before
