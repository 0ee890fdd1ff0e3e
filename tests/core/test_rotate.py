"""Rotation, reopening and what may go wrong with either: no record is lost (C10, C11, C20.10)."""

from __future__ import annotations

import errno
import os
import resource
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from core.test_crilog import HEADER, Chunk, Record, chunks_of_data, model, parse
from harness_stops import run_until_stop
from hypothesis import given, settings
from hypothesis import strategies as st

from conmon import _fastio, cli, diag, logdrivers

RECORD = HEADER + 6  # bytes of the record of a line `00000\n`
REOPEN = (0, b"2 0 0")
UNPRIVILEGED = 65534


def lines(first: int, end: int) -> list[Chunk]:
    """Numbered lines, each one a read of its own."""
    return [(2, b"%05d\n" % number) for number in range(first, end)]


def forward(
    log: Path, output: Iterable[Chunk], *, keep: int = 0, size_max: int = 0, total: int = 0
) -> dict[str, int]:
    """Log output, with rotation to `keep` old logs or without (0): the counters.

    `total` is the size that the log is said to have, for one that is there already.
    """
    fields = _fastio.new_record()
    fields["log_fd"] = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    fields["log_level"] = diag.WARNING
    fields["log_size"] = total or log.stat().st_size
    fields["log_size_max"] = size_max
    fields["log_max_files"] = keep
    directory = os.open(log.parent, os.O_PATH | os.O_DIRECTORY)
    if keep:
        fields["log_dir_fd"] = directory
    try:
        counters = _fastio.forward(fields, {"log_path": os.fsencode(log)}, output)["counters"]
    finally:
        os.close(directory)
    assert isinstance(counters, dict)
    return counters


def logs(log: Path) -> list[Path]:
    """The log and its old ones, the oldest first."""
    numbers = [int(path.suffix[1:]) for path in log.parent.glob(log.name + ".[0-9]*")]
    old = [log.with_name(f"{log.name}.{number}") for number in sorted(numbers, reverse=True)]
    return [*old, *([log] if log.exists() else [])]


def logged(log: Path) -> list[Record]:
    """All records of the log and its old ones, in their order."""
    return [record for path in logs(log) for record in parse(path.read_bytes())]


def names(log: Path) -> set[str]:
    return {path.name for path in log.parent.iterdir()}


# --- where nothing fails --------------------------------------------------------------------


@given(
    steps=st.lists(st.one_of(st.just([REOPEN]), chunks_of_data), max_size=6),
    size_max=st.integers(100, 20000),
    keep=st.integers(1, 4),
)
@settings(deadline=None, max_examples=40)
def test_rotation_beside_the_model(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[Chunk]], size_max: int, keep: int
) -> None:
    """C11.1: old logs and log are the end of all records: contiguous, whole, within the limits."""
    with tempfile.TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as directory:
        log = Path(directory) / "ctr.log"
        chunks = [chunk for step in steps for chunk in step]
        counters = forward(log, chunks, keep=keep, size_max=size_max)
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


# --- where others move the files ------------------------------------------------------------


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


# --- where a step fails ---------------------------------------------------------------------


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
        "[conmon:w]: Failed to rotate the log file, going on in the old one: "
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


# --- killed at any point --------------------------------------------------------------------


@pytest.mark.parametrize("keep", [20, 0])
def test_killed_at_every_system_call(tmp_path: Path, keep: int) -> None:
    """C20.10: whatever is the last thing that conmon does, no record that was written is lost.

    With rotation two are killed at each of their system calls, over three old logs and a number
    that is free; without it, two requests to reopen. Then the next conmon begins, and goes on.
    """
    begin, end = (10, 16) if keep else (0, 6)
    size_max = 2 * RECORD if keep else 0
    written = -1
    for stops in range(1, 2000):
        log = tmp_path / str(stops) / "log"
        log.parent.mkdir()
        if keep:
            forward(log, lines(0, 10), keep=keep, size_max=size_max)
            (tmp_path / str(stops) / "log.2").rename(tmp_path / str(stops) / "log.5")
            expected = logged(log)
        else:
            expected = []
        expected += model(lines(begin, end))

        def work(log: Path = log) -> None:
            output = lines(begin, end)
            forward(log, [*output[:3], REOPEN, *output[3:], REOPEN], keep=keep, size_max=size_max)

        ended = run_until_stop(work, stops)
        found = logged(log)
        assert found == expected[: len(found)], f"stop {stops}: {names(log)}"
        assert len(found) >= written, f"stop {stops}: {names(log)}"
        written = len(found)

        restart(log, keep, size_max, lines(90, 96))
        assert logged(log) == found + model(lines(90, 96))
        assert not {name for name in names(log) if name.endswith((".new", ".tmp"))}
        if ended:
            break
    assert ended
    assert written == len(expected)
    assert stops > 40


def test_log_that_somebody_makes_meanwhile(tmp_path: Path) -> None:
    """C11, C20.10: a log that somebody makes while ours is away is gone on in, not overwritten."""
    made = 0
    for stops in range(1, 2000):
        log = tmp_path / str(stops) / "log"
        log.parent.mkdir()

        def make(log: Path = log) -> None:
            nonlocal made
            if not log.exists():
                forward(log, lines(90, 91))
                made += 1

        def work(log: Path = log) -> None:
            forward(log, [*lines(0, 3), REOPEN, *lines(3, 5)], keep=20)

        log.touch(0o640)
        before = made
        if run_until_stop(work, stops, make):
            break
        theirs = lines(90, 91) if made > before else []
        assert sorted(logged(log)) == model([*lines(0, 5), *theirs]), f"stop {stops}: {names(log)}"
        assert log.exists()
    assert made > 0


def restart(log: Path, keep: int, size_max: int, output: list[Chunk]) -> None:
    """The next conmon with this log."""
    arguments = [b"-l", os.fsencode(log), b"--log-size-max", b"%d" % size_max]
    if keep:
        arguments += [b"--log-rotate", b"--log-max-files", b"%d" % keep]
    fields = held(*arguments)
    _fastio.forward(fields, {"log_path": os.fsencode(log)}, output)
    if fields["log_dir_fd"] >= 0:
        os.close(fields["log_dir_fd"])


def held(*arguments: bytes) -> dict[str, int]:
    """Open the log as the launch life does: the record's fields."""
    options = cli.parse(list(arguments))
    plan = logdrivers.plan_paths(options)
    fields = _fastio.new_record()
    fields["log_fd"], fields["log_size"] = logdrivers.open_log(plan)
    fields.update(logdrivers.hold_log(options, plan, fields["log_fd"]))
    return fields


# --- at the start ---------------------------------------------------------------------------


def rotated(log: Path, *arguments: bytes) -> dict[str, int]:
    """Open for rotation, close again: the fields."""
    fields = held(b"-l", os.fsencode(log), b"--log-rotate", b"--log-size-max", b"99", *arguments)
    for name in ("log_fd", "log_dir_fd"):
        if fields[name] >= 0:
            os.close(fields[name])
    return fields


def test_directory_is_held_only_for_rotation(tmp_path: Path) -> None:
    """C11: an fd that most containers do not need is not held for them."""
    fields = held(b"-l", os.fsencode(tmp_path / "log"))
    os.close(fields["log_fd"])
    assert (fields["log_dir_fd"], fields["log_max_files"]) == (-1, 0)
    fields = rotated(tmp_path / "log", b"--log-max-files", b"7")
    assert fields["log_dir_fd"] >= 0
    assert (fields["log_max_files"], fields["log_size_max"]) == (7, 99)


def test_unfinished_rotation_is_repaired(tmp_path: Path) -> None:
    """C20.10: killed before the last rename: the log is missing, the new one has another name."""
    log = tmp_path / "log"
    forward(tmp_path / "log.1", lines(0, 3))
    (tmp_path / "log.new").touch()
    rotated(log)
    assert names(log) == {"log", "log.1"}
    assert logged(log) == model(lines(0, 3))


def test_file_that_is_not_of_a_rotation_stays(tmp_path: Path) -> None:
    """C20.10: conmon's own unfinished file is empty; no other is touched."""
    (tmp_path / "log.new").write_bytes(b"somebody's\n")
    rotated(tmp_path / "log")
    assert (tmp_path / "log.new").read_bytes() == b"somebody's\n"


@pytest.mark.parametrize("kind", ["symlink", "dots", "device"])
def test_log_that_is_not_rotated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    """C11.2: symlinks, paths with `..` and what is no file: a warning, and a log without limit."""
    log = tmp_path / "log"
    why = "its path contains .."
    if kind == "symlink":
        log.symlink_to(tmp_path / "target")
        why = "it is a symbolic link"
    elif kind == "dots":
        (tmp_path / "sub").mkdir()
        log = tmp_path / "sub" / ".." / "log"
    else:
        log = Path("/dev/null")
        why = "it is no regular file"
    fields = rotated(log)
    assert (fields["log_max_files"], fields["log_size_max"], fields["log_dir_fd"]) == (0, 0, -1)
    text = f"[conmon:w]: Log file {log} is not rotated, its size is not limited: {why}\n"
    assert capfd.readouterr().err == text


def allowed(log: Path, *directories: Path) -> bool:
    """Open a log under an allowlist; whether that was allowed."""
    arguments = [word for path in directories for word in (b"--log-allowlist-dir", bytes(path))]
    refusal = b"Log path %b is not below any --log-allowlist-dir" % bytes(log)
    try:
        fields = held(b"-l", bytes(log), *arguments)
    except diag.Fatal as fatal:
        if fatal.args[0] != refusal:
            raise
        return False
    os.close(fields["log_fd"])
    os.close(fields["log_dir_fd"])
    return True


def test_allowlist(tmp_path: Path) -> None:
    """C11.6, C20.10: the log must be below one of the directories; nothing is made elsewhere."""
    good, other = tmp_path / "good", tmp_path / "goodish"
    (good / "sub").mkdir(parents=True)
    other.mkdir()
    assert allowed(good / "log", good)
    assert allowed(good / "log", tmp_path / "absent", good)
    assert allowed(good / "sub" / "log", good)
    assert allowed(good / "log", Path("/"))
    assert allowed(good / "sub" / ".." / "log", good)
    assert not allowed(other / "log", good)
    assert not allowed(good / ".." / "log", good)
    assert not allowed(good / "log", tmp_path / "absent")
    assert not allowed(tmp_path / "good", good / "sub")
    assert not (other / "log").exists()
    assert not (tmp_path / "log").exists()


def test_allowlist_sees_through_symlinks(tmp_path: Path) -> None:
    """C11.6: it is what a path leads to that counts, of log, of parent and of the list."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    (bad / "file").touch()
    (good / "file").touch()
    (good / "out").symlink_to(bad / "file")
    (good / "dir").symlink_to(bad)
    (bad / "in").symlink_to(good / "file")
    (tmp_path / "list").symlink_to(good)
    assert not allowed(good / "out", good)
    assert not allowed(good / "dir" / "new", good)
    assert allowed(bad / "in", good)
    assert allowed(good / "new", tmp_path / "list")
    assert not (bad / "new").exists()


def test_allowlist_and_a_symlink_to_nowhere(tmp_path: Path) -> None:
    """C11.6: a symlink is not a way to make a file elsewhere."""
    good = tmp_path / "good"
    good.mkdir()
    (good / "log").symlink_to(tmp_path / "absent")
    with pytest.raises(diag.Fatal, match="Failed to open log file Too many levels of symbolic"):
        held(b"-l", bytes(good / "log"), b"--log-allowlist-dir", bytes(good))
    assert not (tmp_path / "absent").exists()
