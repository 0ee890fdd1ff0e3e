"""What must have come out: nothing missing, doubled or torn but what is counted as dropped.

Streams are called `stdout` and `stderr`. A piece is what a record, an entry or a packet carried of
one stream, its newline included where it had one.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness_log import Record, records

NAMES = ("stdout", "stderr")
Streams = dict[str, bytes]

#: What conmon itself says in a log or journal of what it could not put there (docs/counters.md).
MARKER = re.compile(rb"conmon: (\d+) bytes of output .*were not logged: ")


#: What a terminal shows of the input of check_input() before the generator has made it raw. The
#: generator writes no carriage return.
ECHO = re.compile(rb"(?:[i\d .\a]*\r\n)*[i\d .\a]*")


@dataclass(frozen=True)
class Piece:
    stream: str
    data: bytes


@dataclass
class Amount:
    """What a container wrote that something was then compared with."""

    lines: int = 0
    bytes: int = 0


#: Of all containers so far.
expected_so_far = Amount()


def expect(program: Path, seed: int, sizes: dict[str, int]) -> Streams:
    """What the generator writes with this seed; `sizes` are bytes by stream."""
    expected = {
        name: subprocess.run(
            [program, "print", str(seed), name[3], str(size)], capture_output=True, check=True
        ).stdout
        for name, size in sizes.items()
    }
    expected_so_far.lines += sum(data.count(b"\n") for data in expected.values())
    expected_so_far.bytes += sum(map(len, expected.values()))
    return expected


def piece(record: Record) -> Piece:
    """What a record of the log carries."""
    return Piece(record.stream, record.data + (b"\n" if record.tag == "F" else b""))


def pieces(log: bytes) -> list[Piece]:
    """What all records of a log carry, conmon's own among them."""
    return [piece(record) for record in records(log)]


def joined(found: Iterable[Piece]) -> Streams:
    """The streams as the pieces have them."""
    found = list(found)
    return {name: b"".join(one.data for one in found if one.stream == name) for name in NAMES}


def without_echo(found: Iterable[Piece]) -> list[Piece]:
    """The output of a terminal, without the input that it has echoed at the beginning."""
    output = joined(found)["stdout"]
    echo = ECHO.match(output)
    assert echo
    return [Piece("stdout", output[echo.end() :])]


def split_markers(found: Iterable[Piece]) -> tuple[list[Piece], int]:
    """The container's pieces; and how many bytes are missing by conmon's own words."""
    container, told = [], 0
    for one in found:
        if match := MARKER.match(one.data):
            told += int(match[1])
        else:
            container.append(one)
    return container, told


def same(found: bytes, expected: bytes, what: str) -> None:
    """Nothing more, nothing less; the AssertionError says where it begins to differ."""
    if found == expected:
        return
    low, high = 0, min(len(found), len(expected))
    while low < high:
        middle = (low + high + 1) // 2
        if found[:middle] == expected[:middle]:
            low = middle
        else:
            high = middle - 1
    raise AssertionError(
        f"{what}: {len(found)} bytes, expected {len(expected)}; they differ at byte {low}: "
        f"{found[low - 40 : low]!r} goes on with {found[low : low + 60]!r}, "
        f"expected {expected[low : low + 60]!r}"
    )


def complete(found: Iterable[Piece], expected: Streams, what: str) -> None:
    """Every byte of both streams is there, once, in its order."""
    got = joined(found)
    for name in NAMES:
        same(got[name], expected.get(name, b""), f"{name} in {what}")


def missing(found: Sequence[Piece], expected: Streams, what: str) -> int:
    """Bytes that are missing between whole pieces. What is doubled or torn is an AssertionError.

    The earliest place for each piece is right: if any order of places fits them, this one does.
    """
    at = dict.fromkeys(NAMES, 0)
    for one in found:
        stream, start = expected.get(one.stream, b""), at[one.stream]
        place = start if stream.startswith(one.data, start) else stream.find(one.data, start)
        assert place >= 0, f"{what}: not in {one.stream} behind byte {start}: {one.data[:100]!r}"
        at[one.stream] = place + len(one.data)
    whole = sum(map(len, expected.values()))
    return whole - sum(len(one.data) for one in found)


def in_a_row(found: Streams, expected: Streams, what: str, after: dict[str, int]) -> None:
    """What was found has no hole; it begins at or behind `after`, which is moved to its end."""
    for name in NAMES:
        stream, start = expected.get(name, b""), after.get(name, 0)
        place = stream.find(found[name], start)
        if place < 0:
            best = stream.find(found[name][:64], start)
            assert best >= 0, f"{name} in {what} begins nowhere: {found[name][:100]!r}"
            same(found[name], stream[best:], f"{name} in {what}")
        after[name] = place + len(found[name])


def tail(found: Streams, expected: Streams, what: str) -> None:
    """What somebody has who came later, and read to the end: the end of each stream."""
    for name in NAMES:
        stream, got = expected.get(name, b""), found[name]
        if not stream.endswith(got):
            same(got, stream[len(stream) - len(got) :], f"the last of {name} in {what}")


def is_tail(found: Streams, expected: Streams) -> bool:
    """Whether it goes to the end of both streams."""
    return all(expected.get(name, b"").endswith(found[name]) for name in NAMES)
