"""A log that cannot be written: nothing torn, nothing lost without a word (C20.9)."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from conmon import _fastio

LIMIT = 10_000  # bytes that the log may have
LINE = b"a line of some length\n"


@pytest.fixture
def small_file() -> Iterator[None]:
    """No file of this process may grow beyond LIMIT bytes: write() is cut short, then EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def chunks(count: int) -> Iterator[tuple[int, bytes]]:
    for _ in range(count):
        yield 2, LINE * 50


def forward(path: Path, output: Iterator[tuple[int, bytes]]) -> dict[str, int]:
    fields = _fastio.new_record()
    fields["log_fd"] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    counters = _fastio.forward(fields, {"log_path": os.fsencode(path)}, output)["counters"]
    assert isinstance(counters, dict)
    return counters


@pytest.mark.usefixtures("small_file")
def test_no_record_is_torn(tmp_path: Path) -> None:
    """C20.9: the file ends with a whole record; what is missing is counted to the byte."""
    counters = forward(tmp_path / "log", chunks(10))
    log = (tmp_path / "log").read_bytes()
    assert LIMIT - 100 < len(log) <= LIMIT
    logged = log.split(b"\n")
    assert logged.pop() == b""
    assert all(record.endswith(b" stdout F " + LINE[:-1]) for record in logged)
    assert counters["records_dropped"] == 10 * 50 - len(logged)
    assert counters["bytes_dropped"] == (10 * 50 - len(logged)) * len(LINE)
    assert counters["bytes_logged"] == len(log)


@pytest.mark.usefixtures("small_file")
def test_marker_when_the_file_takes_writes_again(tmp_path: Path) -> None:
    """C20.9: the log says how much is missing, and goes on with whole records after it."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def output() -> Iterator[tuple[int, bytes]]:
        yield from chunks(10)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10 * LIMIT, hard))
        yield 3, b"there is room again\n"

    counters = forward(tmp_path / "log", output())
    *_, marker, last = (tmp_path / "log").read_bytes().split(b"\n")[:-1]
    assert last.endswith(b" stderr F there is room again")
    missing = counters["bytes_dropped"]
    assert missing > 0
    text = b"conmon: %d bytes of output were not logged: File too large" % missing
    assert marker.endswith(b" stderr F " + text)


def test_nothing_is_written_to_a_full_device(tmp_path: Path) -> None:
    """C20.9: ENOSPC at the first byte: all is counted, nothing raised."""
    counters = forward(Path("/dev/full"), chunks(3))
    assert counters["records_dropped"] == 150
    assert counters["bytes_logged"] == 0


@pytest.mark.usefixtures("small_file")
def test_records_after_the_marker_keep_their_stream(tmp_path: Path) -> None:
    """C20.9: a marker in the middle of a chunk leaves the chunk's stream and time alone."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def output() -> Iterator[tuple[int, bytes]]:
        yield from chunks(10)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, hard))
        yield 2, b"x\n" * 30_000  # several buffers full

    forward(tmp_path / "log", output())
    after = (tmp_path / "log").read_bytes().partition(b"were not logged")[2].split(b"\n")[1:-1]
    assert len(after) == 30_000
    assert {record[35:] for record in after} == {b" stdout F x"}
    assert len({record[:35] for record in after}) == 1
