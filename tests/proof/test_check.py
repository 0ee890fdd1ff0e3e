"""The proof's own promise: the generator can be told again, and the checker sees every fault."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .check import Piece, Streams, complete, expect, missing, split_markers, tail

SIZES = {"stdout": 300_000, "stderr": 100_000}


@pytest.fixture(scope="module", params=[6, 7])
def expected(request: pytest.FixtureRequest, numbered: Path) -> Streams:
    return expect(numbered, request.param, SIZES)


def in_lines(expected: Streams) -> list[Piece]:
    return [
        Piece(name, line)
        for name, data in expected.items()
        for line in data.splitlines(keepends=True)
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_generator_writes_what_it_prints(numbered: Path, seed: int) -> None:
    """Both streams are those of the seed, whatever the writes; every second seed ends cut."""
    words = [str(numbered), "write", str(seed), "300000", "100000", "0", "7"]
    done = subprocess.run(words, capture_output=True, check=False)
    expected = expect(numbered, seed, SIZES)
    assert done.returncode == 7
    assert {"stdout": done.stdout, "stderr": done.stderr} == expected
    assert all(len(data) >= SIZES[name] - 1 for name, data in expected.items())
    assert expected["stdout"].endswith(b"\n") == (seed == 2)


def test_lines_are_numbered(expected: Streams) -> None:
    """A line says which it is, where it has the room, and a piece where it belongs."""
    lines = expected["stdout"].splitlines()
    assert all(line[:9] == b"o%07d." % n for n, line in enumerate(lines) if len(line) >= 9)
    assert 0 in map(len, lines) and max(map(len, lines)) > 5000
    complete(in_lines(expected), expected, "itself")


@pytest.mark.parametrize("fault", ["missing", "doubled", "torn", "swapped"])
def test_faults_are_seen(expected: Streams, fault: str) -> None:
    """A line that is missing, doubled, torn, or before its predecessor."""
    found = in_lines(expected)
    at = next(n for n in range(50, len(found)) if len(found[n].data) > 40)
    one = found[at]
    if fault == "missing":
        del found[at]
        assert missing(found, expected, "a log") == len(one.data)
    elif fault == "doubled":
        found.insert(at, one)
    elif fault == "torn":
        found[at] = Piece(one.stream, one.data[:20] + b"\n")
    else:
        found[at - 1 : at + 1] = found[at], found[at - 1]
    with pytest.raises(AssertionError, match=f"{one.stream} in a log"):
        complete(found, expected, "a log")
    if fault != "missing":
        with pytest.raises(AssertionError):
            assert missing(found, expected, "a log") == 0
    with pytest.raises(AssertionError):
        tail({"stdout": b"", "stderr": b"", one.stream: one.data[:20]}, expected, "a client")


def test_markers_are_no_output() -> None:
    """What conmon says in the log is told apart, and added up."""
    said = b"conmon: 12 bytes of output were not logged: No space left on device\n"
    journal = b"conmon: 30 bytes of output (2 entries) were not logged: No such file\n"
    found = [Piece("stdout", b"o"), Piece("stderr", said), Piece("stderr", journal)]
    assert split_markers(found) == ([Piece("stdout", b"o")], 42)
