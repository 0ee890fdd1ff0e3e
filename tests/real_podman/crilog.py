"""A strict reader of k8s-file logs, independent of the code under test.

Format (CRI container log): ``TIME STREAM TAG DATA\\n``, TAG ``F`` for a full line and ``P``
for a piece of a line that goes on in that stream's next record.
"""

import re
from dataclasses import dataclass
from datetime import datetime

_RECORD = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})([+-]\d\d:\d\d) (stdout|stderr) ([FP]) (.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Record:
    """One record. ``time_ns`` counts from the epoch; ``offset`` is as written, ``+02:00``."""

    time_ns: int
    offset: str
    stream: str
    tag: str
    data: bytes


def parse(log: bytes) -> list[Record]:
    """All records of ``log``. Raises ValueError where a line is not a whole record."""
    if not log:
        return []
    if not log.endswith(b"\n"):
        raise ValueError(f"the log ends inside a record: {log[-80:]!r}")
    records = []
    for line in log[:-1].split(b"\n"):
        match = _RECORD.fullmatch(line)
        if match is None:
            raise ValueError(f"not a k8s-file record: {line[:120]!r}")
        seconds, nanoseconds, offset, stream, tag, data = match.groups()
        when = datetime.fromisoformat((seconds + offset).decode())
        time_ns = int(when.timestamp()) * 10**9 + int(nanoseconds)
        records.append(Record(time_ns, offset.decode(), stream.decode(), tag.decode(), data))
    return records


def joined(records: list[Record], stream: str) -> bytes:
    """What the container wrote to ``stream``, put together again."""
    mine = (r for r in records if r.stream == stream)
    return b"".join(r.data + (b"\n" if r.tag == "F" else b"") for r in mine)


def lines(records: list[Record]) -> list[tuple[str, bytes]]:
    """(stream, line) of each record; for logs without partial records."""
    assert all(r.tag == "F" for r in records), f"a partial record among {records}"
    return [(r.stream, r.data) for r in records]
