"""A log that cannot be written: nothing torn, nothing lost without a word (C20.9)."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import Iterable, Iterator
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


def forward(path: Path, output: Iterable[tuple[int, bytes]], fd: int = -1) -> dict[str, int]:
    fields = _fastio.new_record()
    if fd < 0:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    fields["log_fd"] = fd
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


def file_that_never_shrinks() -> int:
    """A file that nothing can be taken out of, open for appending."""
    fd = os.memfd_create("log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fd


@pytest.mark.usefixtures("small_file")
@pytest.mark.parametrize("cut", range(0, 67, 6))
def test_what_cannot_be_rolled_back_is_finished(tmp_path: Path, cut: int) -> None:
    """C20.9: where half a record stays in the file its rest is the first that comes behind it.

    Also when that takes several attempts; and the marker itself is not torn.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    fd = file_that_never_shrinks()
    path = Path(f"/proc/self/fd/{os.dup(fd)}")

    def output() -> Iterator[tuple[int, bytes]]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT - cut, hard))
        yield from chunks(10)
        for more in range(1, 200, 7):
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT - cut + more, hard))
            yield 2, LINE
        resource.setrlimit(resource.RLIMIT_FSIZE, (10 * LIMIT, hard))
        yield 2, b"the last\n"

    counters = forward(path, output(), fd)
    records = path.read_bytes().split(b"\n")
    os.close(int(path.name))
    assert records.pop() == b""
    assert records.pop().endswith(b" stdout F the last")
    markers = [record for record in records if b" stderr F conmon: " in record]
    assert all(b" stdout F " + LINE[:-1] == record[35:] for record in records
               if record not in markers)  # fmt: skip
    missing = (500 + len(range(1, 200, 7)) - len(records) + len(markers)) * len(LINE)
    assert counters["bytes_dropped"] == missing
    assert counters["records_dropped"] == missing // len(LINE)
    assert sum(int(marker.split()[4]) for marker in markers) == missing
    assert counters["bytes_logged"] == sum(len(record) + 1 for record in records) + 54


@pytest.mark.usefixtures("small_file")
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_torn_record_is_counted_at_the_end(tmp_path: Path, end: bytes) -> None:
    """C20.9: where its rest never gets into the file, what is missing of it is counted."""
    fd = file_that_never_shrinks()
    path = Path(f"/proc/self/fd/{os.dup(fd)}")
    output = [(2, b"x" * 5000 + end)] * 3
    counters = forward(path, output, fd)
    log = path.read_bytes()
    os.close(int(path.name))
    assert len(log) == LIMIT
    logged = log.count(b"x")
    assert counters["records_dropped"] == 2
    assert counters["bytes_dropped"] == sum(len(data) for _, data in output) - logged - len(end)


def test_newlines_that_are_not_the_containers(tmp_path: Path) -> None:
    """C20.9, C8.2: the newline that is added to a piece of a line is not counted as missing."""
    counters = forward(Path("/dev/full"), [(2, b"abc"), (3, b"defg\n"), (2, b"x" * 20000)])
    assert counters["bytes_dropped"] == counters["bytes_in"] == 20008
    assert counters["records_dropped"] == 5
