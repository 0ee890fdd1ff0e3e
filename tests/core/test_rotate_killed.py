"""conmon killed at any point of a rotation, and the next one's start (C11, C20.10)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from core.rotation import RECORD, REOPEN, forward, held, lines, logged, names
from core.test_crilog import Chunk, model
from harness_stops import run_until_stop

from conmon import _fastio


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
