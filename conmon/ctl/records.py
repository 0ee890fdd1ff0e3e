"""The k8s-file log format, read: records, and the lines that they are the pieces of.

A record is `TIME STREAM TAG DATA\\n`: TIME as RFC 3339 with nanoseconds, STREAM stdout or
stderr, TAG `F` for a piece that ends its line and `P` for one that does not; behind a colon a
tag may go on with words for other readers (Kubernetes' CRI log format).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

#: A line that is longer is given out in pieces, to bound what is held.
LINE_LIMIT = 1 << 20

STREAMS = (b"stdout", b"stderr")


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `full`: its data ends a line."""

    time: bytes
    stream: bytes
    full: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Line:
    """A line of one stream, or a piece of it.

    `time` is that of its first record. `begins` and `ends`: false for pieces of a line that is
    too long, or not ended yet. The newline that ends it is not in `data`.
    """

    time: bytes
    stream: bytes
    data: bytes
    begins: bool
    ends: bool


def parse(line: bytes) -> Record | None:
    """One record, given without its newline; None if it is none."""
    fields = line.split(b" ", 3)
    if len(fields) != 4:
        return None
    time, stream, tag, data = fields
    tag = tag.partition(b":")[0]
    if stream not in STREAMS or tag not in (b"F", b"P") or not time[:4].isdigit():
        return None
    return Record(time, stream, tag == b"F", data)


def moment(time: bytes) -> dt.datetime:
    """A record's time, to the microsecond. ValueError if it is none."""
    return dt.datetime.fromisoformat(time.decode("ascii"))


class _Pending:
    """A line of one stream of which the end has not come yet."""

    __slots__ = ("begun", "pieces", "size", "time")

    def __init__(self) -> None:
        self.time = b""
        self.pieces: list[bytes] = []
        self.size = 0
        self.begun = False  # some of it was given out

    def add(self, record: Record) -> None:
        if not self.pieces and not self.begun:
            self.time = record.time
        self.pieces.append(record.data)
        self.size += len(record.data)

    def take(self, stream: bytes, ends: bool) -> Line:
        line = Line(self.time, stream, b"".join(self.pieces), not self.begun, ends)
        self.pieces, self.size, self.begun = [], 0, not ends
        return line


class Joiner:
    """Joins records to lines, each stream by itself."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._pending = {stream: _Pending() for stream in STREAMS}

    def feed(self, record: Record) -> Line | None:
        """Take one record: the line that it ends, or a piece of one that is too long."""
        pending = self._pending[record.stream]
        if record.full and not pending.pieces and not pending.begun:
            return Line(record.time, record.stream, record.data, True, True)
        pending.add(record)
        if record.full or pending.size > self._limit:
            return pending.take(record.stream, record.full)
        return None

    def flush(self) -> Iterator[Line]:
        """What has come of lines that are not ended, older before younger."""
        waiting = [(p.time, stream) for stream, p in self._pending.items() if p.size]
        for _, stream in sorted(waiting):
            yield self._pending[stream].take(stream, False)
