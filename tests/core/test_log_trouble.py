"""A log in trouble of all kinds at once: what is missing is counted exactly (C20.9, C11)."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from core.rotation import REOPEN, forward, logs
from core.test_crilog import Chunk, Record, chunks_of_data, model, parse
from hypothesis import given, settings
from hypothesis import strategies as st

ROOM = st.integers(0, 30_000).map(lambda room: ("room", room))  # bytes that a file may have
STEPS = st.lists(
    st.one_of(
        ROOM,
        chunks_of_data.map(lambda chunks: ("write", chunks)),
        st.sampled_from([("copytruncate", 0), ("move", 0), ("reopen", 0)]),
    ),
    max_size=14,
)


class Trouble:
    """A log, and what was copied or moved away from it, oldest first."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.taken: list[bytes] = []
        self.written: list[Chunk] = []
        self._hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def room(self, size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, self._hard))

    def take_all(self) -> None:
        """Take what is in log and old logs."""
        self.taken += [path.read_bytes() for path in logs(self.log)]

    def output(self, steps: list[tuple[str, object]]) -> Iterator[Chunk]:
        for what, how in steps:
            if what == "room":
                assert isinstance(how, int)
                self.room(how)
            elif what == "write":
                assert isinstance(how, list)
                self.written += how
                yield from how
            elif what == "copytruncate":
                self.take_all()
                for path in logs(self.log):
                    os.truncate(path, 0)
            else:
                if what == "move" and self.log.exists():
                    self.take_all()
                    for path in logs(self.log):
                        path.unlink()
                yield REOPEN
        self.room(1 << 30)
        self.written.append((2, b"the end\n"))
        yield self.written[-1]


def is_marker(record: Record) -> bool:
    return record[2].startswith(b"conmon: ") and b"were not logged" in record[2]


@pytest.fixture
def limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@given(steps=STEPS, keep=st.sampled_from([0, 0, 200]), size_max=st.sampled_from([0, 5000]))
@settings(deadline=None, max_examples=150)
@pytest.mark.usefixtures("limit")
def test_every_record_is_there_or_counted(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, object]],
    keep: int,
    size_max: int,
) -> None:
    """C20.9: while a disk fills and is freed, and others copy and move the log about."""
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as directory:
        trouble = Trouble(Path(directory) / "log")
        # without rotation a size limit loses records by design
        limit = size_max if keep else 0
        counters = forward(trouble.log, trouble.output(steps), keep=keep, size_max=limit)
        trouble.take_all()
        found = [record for data in trouble.taken for record in parse(data)]
        expected = model(trouble.written)
        markers = [record for record in found if is_marker(record)]
        kept = [record for record in found if not is_marker(record)]
        left = iter(expected)
        assert all(record in left for record in kept), "doubled, torn or out of order"
        assert counters["records_dropped"] == len(expected) - len(kept)
        missing = payload(expected) - payload(kept)
        assert counters["bytes_dropped"] == missing
        assert sum(int(record[2].split()[1]) for record in markers) == missing
        assert kept[-1] == expected[-1]


def payload(records: list[Record]) -> int:
    """The container's bytes in records: a partial record's newline is not the container's."""
    return sum(len(data) - (tag == b"P") for _, tag, data in records)
