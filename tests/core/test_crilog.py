"""The k8s-file formatter of the core beside a plain model (C8, C10)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conmon import _fastio

HEADER = 45
RECORD_DATA = 8192
TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d \Z")

Chunk = tuple[int, bytes]
Record = tuple[int, bytes, bytes]

NAMES = {2: b"stdout", 3: b"stderr"}
STREAMS = {b"stdout ": 2, b"stderr ": 3}


def model(chunks: list[Chunk]) -> list[Record]:
    """(stream, F or P, data with its newline) of every record."""
    records = []
    for stream, data in chunks:
        for line in re.findall(rb"[^\n]*\n|[^\n]+", data):
            for start in range(0, len(line), RECORD_DATA):
                piece = line[start : start + RECORD_DATA]
                tag = b"F" if piece.endswith(b"\n") else b"P"
                records.append((stream, tag, piece.removesuffix(b"\n") + b"\n"))
    return records


def parse(log: bytes) -> list[Record]:
    """Split a log into records by the format's own words; every header is checked."""
    records = []
    assert not log or log.endswith(b"\n")
    for line in log.split(b"\n")[:-1]:
        assert TIME.match(line[:36]), line[:HEADER]
        assert line[43:45] in (b"F ", b"P "), line[:HEADER]
        records.append((STREAMS[line[36:43]], line[43:44], line[HEADER:] + b"\n"))
    return records


def write_log(
    path: Path, chunks: list[Chunk], reads: int = 1, **limits: int
) -> dict[str, int | dict[str, int]]:
    """Forward the chunks into a new log at `path`, which is written after so many of them."""
    fields = _fastio.new_record()
    fields["log_fd"] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o640)
    fields.update(limits)
    return _fastio.forward(fields, {"log_path": os.fsencode(path)}, chunks, reads)


lines = st.lists(st.binary(max_size=300), max_size=60).map(b"\n".join)
long_lines = st.integers(0, 65536).map(lambda size: b"x" * size)
newlines = st.integers(0, 9000).map(lambda size: b"\n" * size)
data = st.one_of(lines, long_lines, newlines, st.binary(max_size=2000))
reads_of_a_write = st.integers(1, 4)
chunks_of_data = st.lists(st.tuples(st.sampled_from([2, 3]), data), max_size=8)


@given(chunks=chunks_of_data, reads=reads_of_a_write)
@settings(deadline=None)
def test_records_equal_the_model(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[Chunk], reads: int
) -> None:
    """C8.1-8.3: stream, tag and data of every record, for any bytes and any cuts."""
    path = tmp_path_factory.getbasetemp() / "model.log"
    fields = write_log(path, chunks, reads)
    expected = model(chunks)
    assert parse(path.read_bytes()) == expected
    counters = fields["counters"]
    assert isinstance(counters, dict)
    assert counters["records"] == len(expected)
    assert counters["bytes_in"] == sum(len(data) for _, data in chunks)
    assert counters["bytes_logged"] == fields["log_size"] == path.stat().st_size


@pytest.mark.parametrize("middle", [45, 8192, 16384, 65536])
def test_every_length_around_a_buffer_edge(tmp_path: Path, middle: int) -> None:
    """C8.2: no byte is lost or doubled at the edges of record, chunk and buffer."""
    for size in range(max(0, middle - 50), middle + 50):
        stream = b"y" * size + b"\nnext\n"
        chunks = [(2, stream[i : i + 65536]) for i in range(0, len(stream), 65536)]
        write_log(tmp_path / "log", chunks)
        assert parse((tmp_path / "log").read_bytes()) == model(chunks)


@given(chunks=chunks_of_data, reads=reads_of_a_write, size_max=st.integers(400, 20000))
@settings(deadline=None, max_examples=40)
def test_size_limit(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[Chunk], reads: int, size_max: int
) -> None:
    """C10: the log ends with the last records; it is over the limit only by a single record."""
    path = tmp_path_factory.getbasetemp() / "limit.log"
    fields = write_log(path, chunks, reads, log_size_max=size_max)
    records = parse(path.read_bytes())
    expected = model(chunks)
    assert records == expected[len(expected) - len(records) :]
    assert len(records) <= 1 or path.stat().st_size <= size_max
    assert bool(records) == bool(expected)
    assert fields["log_size"] == path.stat().st_size


@given(chunks=chunks_of_data, reads=reads_of_a_write, size_max=st.integers(1, 20000))
@settings(deadline=None)
def test_global_limit(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[Chunk], reads: int, size_max: int
) -> None:
    """C10: logging stops with the record that reaches the limit; the rest is counted."""
    path = tmp_path_factory.getbasetemp() / "global.log"
    fields = write_log(path, chunks, reads, log_global_size_max=size_max)
    records, expected = parse(path.read_bytes()), model(chunks)
    assert records == expected[: len(records)]
    total = path.stat().st_size
    if len(records) < len(expected):
        assert total >= size_max
    if records:
        assert total - HEADER - len(records[-1][2]) < size_max
    counters = fields["counters"]
    assert isinstance(counters, dict)
    assert counters["records_dropped"] == len(expected) - len(records)


@pytest.mark.parametrize("first", range(0, 70_001, 2_000))
def test_every_length_as_it_is_read(tmp_path: Path, first: int) -> None:
    """C8: lines of every length from 0 to 70,000 bytes, one after the other in reads of 64 KiB.

    So each of them lies differently to the edges of reads, of records and of the log's buffer.
    Once the log is written after each read, and once after four, as in a burst.
    """
    stream = b"".join(
        b"%05d" % length + b"x" * (length - 5) + b"\n" if length >= 5 else b"x" * length + b"\n"
        for length in range(first, min(first + 2_000, 70_001))
    )
    for shift, reads in ((0, 1), (20_011, 4)):
        chunks: list[Chunk] = [
            (2, stream[max(0, start) : start + 65536])
            for start in range(-shift, len(stream), 65536)
        ]
        write_log(tmp_path / "log", chunks, reads)
        found = parse((tmp_path / "log").read_bytes())
        (tmp_path / "log").unlink()  # 100 MB
        # not `found == model(chunks)`: pytest would print all of it
        expected = model(chunks)
        assert len(found) == len(expected)
        for place, pair in enumerate(zip(found, expected, strict=True)):
            assert pair[0] == pair[1], f"record {place}"
