"""Log records and the lines that they are pieces of."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conmon.ctl import records, tail
from conmon.ctl.logfile import LogFile

TIME = b"2026-11-22T06:00:00.000000001+00:00"

#: a record: stream, whether it ends a line, data; a piece that does not is never empty
PIECES = st.lists(
    st.tuples(
        st.sampled_from(records.STREAMS), st.booleans(), st.sampled_from([b"", b"x", b"yz"])
    ).filter(lambda piece: piece[1] or piece[2]),
    max_size=40,
)


def written(pieces: list[tuple[bytes, bool, bytes]]) -> bytes:
    """The log of these pieces."""
    return b"".join(
        b"%b %b %b %b\n" % (TIME, stream, b"F" if full else b"P", data)
        for stream, full, data in pieces
    )


def joined(log: bytes, streams: tuple[bytes, ...]) -> list[tuple[bytes, bytes, bool]]:
    """Stream, text and end of each line, by a Joiner."""
    joiner = records.Joiner()
    lines = []
    for text in log.splitlines():
        record = records.parse(text)
        assert record is not None
        if record.stream in streams and (line := joiner.feed(record)):
            lines.append(line)
    lines += [line for line in joiner.flush() if line.stream in streams]
    return [(line.stream, line.data, line.ends) for line in lines]


@given(PIECES)
def test_lines_are_what_the_container_wrote(pieces: list[tuple[bytes, bool, bytes]]) -> None:
    """C8.2: the joined lines of a stream are its bytes, whatever comes between from the other."""
    log = written(pieces)
    for stream in records.STREAMS:
        wrote = b"".join(
            data + (b"\n" if full else b"") for which, full, data in pieces if which == stream
        )
        lines = joined(log, (stream,))
        assert b"".join(data + (b"\n" if ends else b"") for _, data, ends in lines) == wrote


@given(PIECES, st.integers(0, 6), st.sampled_from([records.STREAMS, (b"stderr",)]))
def test_tail_begins_early_enough(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[tuple[bytes, bool, bytes]],
    count: int,
    streams: tuple[bytes, ...],
) -> None:
    """--tail: read from there, the last lines are those of the whole log."""
    log = written(pieces)
    path = tmp_path_factory.getbasetemp() / "tail.log"
    path.write_bytes(log)
    file = LogFile(os.open(path, os.O_RDONLY))
    try:
        start = tail.start_of_last(file, count, streams)
    finally:
        file.close()
    whole = joined(log, streams)
    # An unfinished line comes last only at the very end, so it is compared there by itself.
    finished = [line for line in whole if line[2]]
    again = [line for line in joined(log[start:], streams) if line[2]]
    kept = max(0, count - (len(whole) - len(finished)))
    assert list(deque(again, kept)) == list(deque(finished, kept))


def test_tail_of_a_log_with_many_blocks(tmp_path: Path) -> None:
    """--tail: lines longer than what is read at once, and a record that is being written."""
    lines = [bytes([65 + i % 26]) * (i * 7000) for i in range(40)]
    log = written([(b"stdout", True, line) for line in lines])
    path = tmp_path / "log"
    path.write_bytes(log + TIME + b" stdout F unfini")
    file = LogFile(os.open(path, os.O_RDONLY))
    start = tail.start_of_last(file, 3, records.STREAMS)
    file.close()
    assert [record.data for record in map(records.parse, log[start:].splitlines()) if record] == (
        lines[-3:]
    )


def test_tail_of_nothing_begins_at_the_end(tmp_path: Path) -> None:
    """--tail 0 begins behind the last whole record."""
    log = written([(b"stdout", True, b"one")])
    path = tmp_path / "log"
    path.write_bytes(log + TIME)
    file = LogFile(os.open(path, os.O_RDONLY))
    assert tail.start_of_last(file, 0, records.STREAMS) == len(log)
    file.close()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"text",
        TIME + b" stdin F x",
        TIME + b" stdout X x",
        TIME + b" stdout F",
        b" stdout F x",
    ],
)
def test_what_is_no_record(line: bytes) -> None:
    """A line of another format is told apart, not guessed at."""
    assert records.parse(line) is None


def test_tags_of_other_writers() -> None:
    """Words behind a colon of the tag are for other readers; data may be empty or have spaces."""
    assert records.parse(TIME + b" stderr P:x  a b ") == records.Record(
        TIME, b"stderr", False, b" a b "
    )


def test_a_line_without_end_is_given_in_pieces() -> None:
    """What is held of one line is bounded; its pieces say that they are pieces."""
    joiner = records.Joiner(limit=10)
    pieces = []
    for number in range(5):
        record = records.Record(b"t%d" % number, b"stdout", number == 4, b"123456")
        if line := joiner.feed(record):
            pieces.append(line)
    assert b"".join(piece.data for piece in pieces) == b"123456" * 5
    assert [(piece.begins, piece.ends) for piece in pieces] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert {piece.time for piece in pieces} == {b"t0"}


def test_a_prompt_is_shown_once() -> None:
    """What is flushed of a line is not given again when its end comes."""
    joiner = records.Joiner()
    assert joiner.feed(records.Record(b"t0", b"stdout", False, b"name: ")) is None
    (prompt,) = joiner.flush()
    assert (prompt.data, prompt.begins, prompt.ends) == (b"name: ", True, False)
    assert list(joiner.flush()) == []
    rest = joiner.feed(records.Record(b"t1", b"stdout", True, b"x"))
    assert rest is not None
    assert (rest.time, rest.data, rest.begins, rest.ends) == (b"t0", b"x", False, True)
