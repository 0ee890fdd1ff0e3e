"""Rotation while a step of it fails: no record is lost (C10, C20.10)."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from core.rotation import RECORD, REOPEN, forward, lines, logged, logs, names
from core.test_crilog import Chunk, model, parse

UNPRIVILEGED = 65534


def directory_as_new(log: Path) -> Callable[[], None]:
    path = log.with_name("log.new")
    path.mkdir()
    return path.rmdir


def somebodys_new(log: Path) -> Callable[[], None]:
    path = log.with_name("log.new")
    path.write_bytes(b"somebody's\n")
    return path.unlink


def directory_as(number: int) -> Callable[[Path], Callable[[], None]]:
    def make(log: Path) -> Callable[[], None]:
        path = log.with_name(f"log.{number}")
        aside = log.with_name("aside")
        if path.exists():
            path.rename(aside)
        path.mkdir()
        (path / "file").touch()

        def remove() -> None:
            (path / "file").unlink()
            path.rmdir()
            if aside.exists():
                aside.rename(path)

        return remove

    return make


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [
        (directory_as_new, errno.EEXIST),
        (somebodys_new, errno.EEXIST),
        (directory_as(1), errno.EISDIR),
        (directory_as(2), errno.EISDIR),
        (directory_as(3), errno.EISDIR),
    ],
)
def test_step_that_fails_for_a_while(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    obstacle: Callable[[Path], Callable[[], None]],
    reason: int,
) -> None:
    """C20.10: writing goes on in the old file; one warning; rotation is resumed when it can be.

    It is not tried for each record, but when 4 KiB have been written since.
    """
    log = tmp_path / "log"
    forward(log, lines(0, 10), keep=40, size_max=2 * RECORD)
    assert len(logs(log)) == 5
    remove = obstacle(log)
    before = names(log)

    def output() -> Iterator[Chunk]:
        yield from lines(10, 510)
        assert names(log) == before, "a step was left half-done"
        assert len(parse(log.read_bytes())) == 502
        remove()
        yield from lines(510, 700)

    counters = forward(log, output(), keep=40, size_max=2 * RECORD)
    warnings = capfd.readouterr().err.splitlines()
    assert warnings == [
        "[conmon:w]: Failed to rotate the log file, continuing in the old one: "
        + os.strerror(reason),
        "[conmon:w]: Rotating the log file works again",
    ]
    assert 500 * RECORD // 4096 <= counters["rotation_failures"] <= 500 * RECORD // 4096 + 1
    assert counters["rotations"] >= 40
    assert "log.new" not in names(log)
    found = logged(log)
    assert len(logs(log)) == 41
    assert found == model(lines(700 - len(found), 700))


def test_last_rename_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """C20.10: once the log is .1 and no new one can take its place, .1 is written to.

    A file that somebody has made in that place is not overwritten, but gone on in.
    """
    log = tmp_path / "log"

    def output() -> Iterator[Chunk]:
        yield from lines(0, 2)
        log.rename(tmp_path / "log.1")
        log.mkdir()
        yield from lines(2, 6)
        log.rmdir()
        forward(log, lines(6, 7))
        yield REOPEN
        yield from lines(7, 8)

    forward(log, output(), keep=3, size_max=2 * RECORD)
    assert logged(log) == model(lines(0, 8))
    assert names(log) == {"log", "log.1"}
    assert capfd.readouterr().err.count("Failed to rotate") == 1


def test_directory_that_may_not_be_written_to(tmp_path: Path) -> None:
    """C20.10: nothing can be made or renamed: all records are in the log."""
    directory = tmp_path / "logs"
    directory.mkdir()
    log = directory / "log"
    log.touch(0o666)
    log.chmod(0o666)
    directory.chmod(0o555)
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() != "root":
            break
        if path.stat().st_mode & 0o001 == 0:
            path.chmod(path.stat().st_mode | 0o011)  # so that the other user gets there
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setresuid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
            counters = forward(log, lines(0, 300), keep=2, size_max=2 * RECORD)
            status = 0 if counters["rotation_failures"] and not counters["rotations"] else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    directory.chmod(0o755)
    assert logged(log) == model(lines(0, 300))
    assert names(log) == {"log"}


def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    """C20.9, C20.10: while nothing can be written the old logs are not pushed out for nothing."""
    log = tmp_path / "log"
    forward(log, lines(0, 6), keep=2, size_max=2 * RECORD)
    before = logged(log)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    os.truncate(log, 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        counters = forward(log, lines(6, 100), keep=2, size_max=2 * RECORD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert counters["records_dropped"] == 94
    assert counters["rotations"] == 0
    assert logged(log) == before[:-2]


def test_plain_log_that_cannot_be_replaced(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """C10, C20.10: it is emptied instead, the limit holds, the container goes on; one warning."""
    log = tmp_path / "log"
    (tmp_path / "log.tmp").mkdir()
    forward(log, lines(0, 99), size_max=2 * RECORD)
    assert parse(log.read_bytes()) == model(lines(98, 99))
    assert capfd.readouterr().err.count("Failed to replace the log file") == 1


def test_moved_plain_log_is_not_emptied(tmp_path: Path) -> None:
    """C10: a file that somebody has moved away keeps its records, also where no new one can be."""
    log, moved = tmp_path / "log", tmp_path / "moved"
    (tmp_path / "log.tmp").mkdir()

    def output() -> Iterator[Chunk]:
        yield from lines(0, 2)
        log.rename(moved)
        yield from lines(2, 6)

    forward(log, output(), size_max=2 * RECORD)
    assert parse(moved.read_bytes()) == model(lines(0, 6))


def test_leftover_of_a_plain_log(tmp_path: Path) -> None:
    """C10: a temporary file from a crash is in nobody's way, and gives the log no wrong mode."""
    log = tmp_path / "log"
    (tmp_path / "log.tmp").touch(0o666)
    forward(log, lines(0, 3), size_max=2 * RECORD)
    assert parse(log.read_bytes()) == model(lines(2, 3))
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert names(log) == {"log"}
