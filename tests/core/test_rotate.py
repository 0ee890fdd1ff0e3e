"""Rotation and reopening where nothing fails, also while others move the files (C10, C11)."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from core.rotation import RECORD, REOPEN, forward, lines, logged, logs, names
from core.test_crilog import Chunk, chunks_of_data, model, parse
from hypothesis import given, settings
from hypothesis import strategies as st


@given(
    steps=st.lists(st.one_of(st.just([REOPEN]), chunks_of_data), max_size=6),
    size_max=st.integers(100, 20000),
    keep=st.integers(1, 4),
    reads=st.integers(1, 4),
)
@settings(deadline=None, max_examples=40)
def test_rotation_beside_the_model(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[list[Chunk]],
    size_max: int,
    keep: int,
    reads: int,
) -> None:
    """C11.1: old logs and log are the end of all records: contiguous, whole, within the limits."""
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as directory:
        log = Path(directory) / "ctr.log"
        chunks = [chunk for step in steps for chunk in step]
        counters = forward(log, chunks, keep=keep, size_max=size_max, reads=reads)
        expected = model([chunk for chunk in chunks if chunk != REOPEN])
        found = logged(log)
        assert found == expected[len(expected) - len(found) :]
        old = min(keep, counters["rotations"])
        assert names(log) == {"ctr.log", *(f"ctr.log.{i}" for i in range(1, old + 1))}
        if counters["rotations"] <= keep:
            assert found == expected
        for path in logs(log):
            assert path.stat().st_size <= size_max or len(parse(path.read_bytes())) == 1
        assert all(path.stat().st_size for path in logs(log)[:-1])
        assert counters["reopens"] == chunks.count(REOPEN)
        assert counters["records_dropped"] == counters["rotation_failures"] == 0
        assert counters["truncations"] == 0


def test_the_example_of_the_contract(tmp_path: Path) -> None:
    """C11.1: at most 110 bytes, records of 51, two old logs: one record, then two and two."""
    log = tmp_path / "log"
    forward(log, lines(0, 9), keep=2, size_max=110)
    assert [len(parse(path.read_bytes())) for path in logs(log)] == [2, 2, 1]
    assert logged(log) == model(lines(4, 9))


def test_never_one_file_too_many(tmp_path: Path) -> None:
    """C20.10: one old log is one; C conmon makes a .2 of it."""
    log = tmp_path / "log"
    forward(log, lines(0, 100), keep=1, size_max=2 * RECORD)
    assert names(log) == {"log", "log.1"}


def test_new_log_is_appended_to_and_not_public(tmp_path: Path) -> None:
    """C11.1, C20.10: mode 0640, O_APPEND."""
    log = tmp_path / "log"
    flags: list[int] = []

    def output() -> Iterator[Chunk]:
        yield from lines(0, 3)
        for name in os.listdir("/proc/self/fd"):
            if os.path.exists(f"/proc/self/fd/{name}") and os.path.samefile(
                f"/proc/self/fd/{name}", log
            ):
                info = Path(f"/proc/self/fdinfo/{name}").read_text().split()
                flags.append(int(info[info.index("flags:") + 1], 8))

    forward(log, output(), keep=1, size_max=2 * RECORD)
    assert [flag & (os.O_APPEND | os.O_ACCMODE) for flag in flags] == [os.O_APPEND | os.O_WRONLY]
    assert flags[0] & os.O_CLOEXEC
    assert stat.S_IMODE(log.stat().st_mode) == 0o640


def test_a_free_number_is_filled(tmp_path: Path) -> None:
    """C20.10: an old log that somebody has removed makes room: no other is pushed out for it."""
    log = tmp_path / "log"
    forward(log, lines(0, 9), keep=4, size_max=2 * RECORD)
    (tmp_path / "log.2").unlink()
    oldest = (tmp_path / "log.4").read_bytes()
    forward(log, lines(9, 11), keep=4, size_max=2 * RECORD)
    assert (tmp_path / "log.4").read_bytes() == oldest
    assert names(log) == {"log", "log.1", "log.2", "log.3", "log.4"}


def test_request_without_records(tmp_path: Path) -> None:
    """C11.1: an empty log is not rotated: requests cannot push out the old logs."""
    log = tmp_path / "log"
    forward(log, lines(0, 3), keep=2, size_max=2 * RECORD)
    before = logged(log)
    counters = forward(log, [REOPEN] * 10, keep=2)
    assert counters["rotations"] == 1
    assert logged(log) == before


@pytest.mark.parametrize("keep", [0, 3])
def test_reopen_after_the_log_was_moved(tmp_path: Path, keep: int) -> None:
    """C11.4: what comes after the request is in a new file of the log's name."""
    log, moved = tmp_path / "log", tmp_path / "log.20260801"

    def output() -> Iterator[Chunk]:
        yield from lines(0, 5)
        log.rename(moved)
        yield from lines(5, 8)
        yield REOPEN
        yield from lines(8, 11)

    counters = forward(log, output(), keep=keep)
    assert parse(moved.read_bytes()) == model(lines(0, 8))
    assert parse(log.read_bytes()) == model(lines(8, 11))
    assert names(log) == {"log", "log.20260801"}
    assert counters["reopens"] == 1
    assert counters["rotations"] == 0


@pytest.mark.parametrize("keep", [0, 3])
def test_log_moved_without_a_word(tmp_path: Path, keep: int) -> None:
    """C10, C11: at the size limit a new log is made; the file that was moved is left alone."""
    log, moved = tmp_path / "log", tmp_path / "log.20260801"

    def output() -> Iterator[Chunk]:
        yield from lines(0, 5)
        log.rename(moved)
        yield from lines(5, 12)

    forward(log, output(), keep=keep, size_max=10 * RECORD)
    assert parse(moved.read_bytes()) == model(lines(0, 10))
    assert parse(log.read_bytes()) == model(lines(10, 12))
    assert names(log) == {"log", "log.20260801"}


@pytest.mark.parametrize("keep", [0, 3])
def test_reopen_where_somebody_made_a_new_log(tmp_path: Path, keep: int) -> None:
    """C11.4: a tool may put a new file in the place itself: that is gone on in."""
    log, moved = tmp_path / "log", tmp_path / "log.20260801"

    def output() -> Iterator[Chunk]:
        yield from lines(0, 5)
        log.rename(moved)
        forward(log, lines(5, 6))
        yield REOPEN
        yield from lines(6, 9)

    forward(log, output(), keep=keep)
    assert parse(moved.read_bytes()) == model(lines(0, 5))
    assert parse(log.read_bytes()) == model(lines(5, 9))


def test_reopen_in_place(tmp_path: Path) -> None:
    """C11.5: without rotation the log stays what it is, with all that is in it."""
    log = tmp_path / "log"

    def output() -> Iterator[Chunk]:
        yield from lines(0, 5)
        inode = log.stat().st_ino
        yield REOPEN
        assert log.stat().st_ino == inode
        yield from lines(5, 9)

    forward(log, output())
    assert parse(log.read_bytes()) == model(lines(0, 9))
    assert names(log) == {"log"}


def test_log_that_was_copied_and_emptied(tmp_path: Path) -> None:
    """C11: logrotate's copytruncate: writing goes on at the file's new end."""
    log = tmp_path / "log"

    def output() -> Iterator[Chunk]:
        yield from lines(0, 9)
        os.truncate(log, 0)
        yield from lines(9, 19)

    forward(log, output(), keep=2, size_max=10 * RECORD)
    assert logged(log) == model(lines(9, 19))


@pytest.mark.parametrize("request_first", [False, True])
def test_symlink_in_place_of_the_log(tmp_path: Path, request_first: bool) -> None:
    """C11.2: a symlink that somebody put there later is not followed; nothing is lost."""
    log, moved, target = tmp_path / "log", tmp_path / "moved", tmp_path / "target"
    target.write_bytes(b"not ours\n")

    def output() -> Iterator[Chunk]:
        yield from lines(0, 5)
        log.rename(moved)
        log.symlink_to(target)
        if request_first:
            yield REOPEN
        yield from lines(5, 20)

    counters = forward(log, output(), keep=2, size_max=10 * RECORD)
    assert target.read_bytes() == b"not ours\n"
    assert parse(moved.read_bytes()) == model(lines(0, 20))
    assert counters["rotation_failures"] == 1


@pytest.mark.parametrize("keep", [0, 2])
def test_fifo_in_place_of_the_log(tmp_path: Path, keep: int) -> None:
    """C20.10: what cannot be written to does not stop the container."""
    log, moved = tmp_path / "log", tmp_path / "moved"

    def output() -> Iterator[Chunk]:
        yield from lines(0, 5)
        log.rename(moved)
        os.mkfifo(log)
        yield REOPEN
        yield from lines(5, 9)

    forward(log, output(), keep=keep)
    assert parse(moved.read_bytes()) == model(lines(0, 9))
