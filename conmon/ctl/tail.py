"""Where the last lines of a log begin."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator

from conmon.ctl import records
from conmon.ctl.logfile import LogFile

_BLOCK = 1 << 16


def lines_backwards(fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Offset and text of each whole line, without its newline, from the end to the start."""
    end = size  # of what was looked at
    rest = b""  # begins a line, at `end`; its newline is the last byte
    at_end = True
    while end > 0:
        begin = max(0, end - _BLOCK)
        data = os.pread(fd, end - begin, begin) + rest
        if at_end:
            # what follows the last newline is a record that is being written
            data = data[: data.rfind(b"\n") + 1]
            at_end = not data
        end = begin
        if not data:
            continue
        lines = data[:-1].split(b"\n")
        # The first one may begin further ahead.
        first = 0 if begin == 0 else 1
        offset = begin + len(data)
        for line in reversed(lines[first:]):
            offset -= len(line) + 1
            yield offset, line
        rest = data[: offset - begin]


def start_of_last(file: LogFile, count: int, streams: Container[bytes]) -> int:
    """Offset from which on all pieces of the last `count` lines of these streams are read.

    More may come from there: the caller keeps the last ones.
    """
    offset = 0  # of what follows the record that is looked at
    found = 0
    unsure: set[bytes] = set()  # of these, the first piece of a line that counts may be ahead
    seen: set[bytes] = set()
    for at, text in lines_backwards(file.fd, file.size()):
        offset = offset or at + len(text) + 1
        record = records.parse(text)
        if record is not None and record.stream in streams:
            ends_line = record.full or record.stream not in seen
            seen.add(record.stream)
            if ends_line:
                unsure.discard(record.stream)
                if found < count:
                    found += 1
                    unsure.add(record.stream)
            if found >= count and not unsure:
                return offset
        offset = at
    return 0
