"""The k8s-file log format (CONTRACT C8, the CRI log format), read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: One record: local time with nanoseconds and numeric offset, stream, F(ull) or P(artial), data.
RECORD = re.compile(
    rb"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d) "
    rb"(?P<stream>stdout|stderr) (?P<tag>[FP]) (?P<data>[^\n]*)\n"
)

#: Bytes of a record beside the container's own line: time, stream, tag, three spaces. A full
#: record's newline is the container's; a partial record's newline is one byte more.
OVERHEAD = len(b"2026-08-01T12:00:00.123456789+00:00 stdout F ")


@dataclass(frozen=True)
class Record:
    time: bytes
    stream: str
    tag: str
    data: bytes


def records(log: bytes) -> list[Record]:
    """All records of a log; AssertionError at the first byte that does not belong to one."""
    found: list[Record] = []
    at = 0
    while at < len(log):
        match = RECORD.match(log, at)
        assert match, f"no record at byte {at}: {log[at : at + 120]!r}"
        found.append(
            Record(match["time"], match["stream"].decode(), match["tag"].decode(), match["data"])
        )
        at = match.end()
    return found


def written(log: bytes, stream: str = "stdout") -> bytes:
    """What the container wrote to `stream`, put together again from its records."""
    return b"".join(
        record.data + (b"\n" if record.tag == "F" else b"")
        for record in records(log)
        if record.stream == stream
    )


def lines(log: bytes, stream: str = "stdout") -> list[bytes]:
    """The lines of `stream`; the last one may lack its newline."""
    return written(log, stream).splitlines(keepends=True)
