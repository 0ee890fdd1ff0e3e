"""Logs for the tests of rotation: output that is logged, and what the files hold then."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from core.test_crilog import HEADER, Chunk, Record, parse

from conmon import _fastio, cli, diag, logdrivers

RECORD = HEADER + 6  # bytes of the record of a line `00000\n`
REOPEN = (0, b"2 0 0")


def lines(first: int, end: int) -> list[Chunk]:
    """Numbered lines, each one a read of its own."""
    return [(2, b"%05d\n" % number) for number in range(first, end)]


def forward(
    log: Path,
    output: Iterable[Chunk],
    *,
    keep: int = 0,
    size_max: int = 0,
    total: int = 0,
    reads: int = 1,
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
        path = os.fsencode(log)
        counters = _fastio.forward(fields, {"log_path": path}, output, reads)["counters"]
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


def held(*arguments: bytes) -> dict[str, int]:
    """Open the log as the launch life does: the record's fields."""
    options = cli.parse(list(arguments))
    plan = logdrivers.plan_paths(options)
    fields = _fastio.new_record()
    fields["log_fd"], fields["log_size"] = logdrivers.open_log(plan)
    fields.update(logdrivers.hold_log(options, plan, fields["log_fd"]))
    return fields
