"""C10: --log-size-max without --log-rotate, and --log-global-size-max."""

from __future__ import annotations

import os
import stat

import pytest
from harness import Container
from harness_log import OVERHEAD, lines, records
from harness_os import Event

#: Bytes of the record of a line `NNNN`.
RECORD = OVERHEAD + 5


def limited(container: Container, count: int, *options: str) -> list[bytes]:
    """Log `count` numbered lines under a limit: the lines in the log."""
    container.put("data", b"".join(b"%04d\n" % number for number in range(1, count + 1)))
    container.command("cat data")
    assert container.run(*options) == 0
    return lines(container.log.read_bytes())


@pytest.mark.parametrize(
    ("limit", "count", "kept"),
    [
        (3 * RECORD, 3, ["0001", "0002", "0003"]),  # exactly full is not over
        (3 * RECORD, 4, ["0004"]),
        (3 * RECORD - 1, 3, ["0003"]),
        (4 * RECORD - 1, 7, ["0007"]),
        (3 * RECORD, 1002, ["1000", "1001", "1002"]),
        (100 * RECORD, 950, [f"{number:04}" for number in range(901, 951)]),
    ],
)
def test_truncated_at_a_record(
    container: Container, limit: int, count: int, kept: list[str]
) -> None:
    """C10: a record that would pass the limit begins the file anew."""
    found = limited(container, count, "--log-size-max", str(limit))
    assert found == [line.encode() + b"\n" for line in kept]


def test_file_is_replaced_by_rename(container: Container) -> None:
    """C10: a new file is renamed over the log; no temporary one is left."""
    limited(container, 2, "--log-size-max", str(RECORD))
    container.wait_until(lambda: Event("MOVED_TO", "logs", "ctr.log") in container.events, "rename")
    assert os.listdir(container.log.parent) == [container.log.name]


@pytest.mark.ours("older versions make it with mode 0600")
def test_mode_of_the_new_file(container: Container) -> None:
    """C10: the new file has the log's mode."""
    limited(container, 2, "--log-size-max", str(RECORD))
    assert stat.S_IMODE(container.log.stat().st_mode) == 0o640


def test_record_larger_than_the_limit(container: Container) -> None:
    """C10: one record larger than the limit is written whole."""
    container.command("echo before; echo 0123456789012345678901234567890123456789")
    assert container.run("--log-size-max", "60") == 0
    [record] = records(container.log.read_bytes())
    assert record.data == b"0123456789" * 4


@pytest.mark.ours("older versions count from 0")
def test_size_counts_from_what_is_there(container: Container) -> None:
    """C4.2, C10: the size of an existing log counts."""
    container.log.write_bytes(b"2020-01-01T00:00:00.000000000+00:00 stdout F 0000\n")
    assert limited(container, 2, "--log-size-max", str(2 * RECORD)) == [b"0002\n"]


def test_partial_records_count(container: Container) -> None:
    """C8.5, C10: a partial record counts with the newline that is added to it."""
    container.fifo("go")
    container.command("printf abcd; read -r _ <go; echo; echo last")
    container.launch("--log-size-max", str(2 * RECORD))
    container.started()
    container.wait_log(b" P abcd\n")
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0
    # P abcd = RECORD bytes, the empty F = RECORD - 4, and so `last` begins a new file.
    assert [record.data for record in records(container.log.read_bytes())] == [b"last"]


@pytest.mark.parametrize("limit", ["0", "-1", "-100"])
def test_no_limit(container: Container, limit: str) -> None:
    """C2: zero or less is no limit."""
    assert len(limited(container, 500, "--log-size-max", limit)) == 500


@pytest.mark.parametrize(
    ("limit", "kept"),
    [(1, 1), (RECORD - 1, 1), (RECORD, 1), (RECORD + 1, 2), (3 * RECORD, 3), (99 * RECORD, 99)],
)
def test_global_limit(container: Container, limit: int, kept: int) -> None:
    """C10: logging stops with the record that reaches the global limit; the rest is dropped."""
    found = limited(container, 200, "--log-global-size-max", str(limit))
    assert found == [b"%04d\n" % number for number in range(1, kept + 1)]


@pytest.mark.ours("older versions count from 0")
def test_global_limit_counts_what_is_there(container: Container) -> None:
    """C10: the total starts at the size of the existing file."""
    container.log.write_bytes(b"2020-01-01T00:00:00.000000000+00:00 stdout F 0000\n")
    found = limited(container, 9, "--log-global-size-max", str(2 * RECORD))
    assert found == [b"0000\n", b"0001\n"]


def test_global_limit_outlasts_truncation(container: Container) -> None:
    """C10: the total is not reset when the file is."""
    options = ("--log-size-max", str(2 * RECORD), "--log-global-size-max", str(5 * RECORD))
    assert limited(container, 50, *options) == [b"0005\n"]


def test_global_limit_does_not_reach_clients(container: Container) -> None:
    """C10, C12.3: only the log is limited: an attached client gets everything."""
    container.fifo("start")
    container.put("data", b"0123456789\n" * 500)
    container.command("cat data")
    container.launch("--log-global-size-max", "1")
    container.started()
    client = container.attach()
    container.open_fifo(container.bundle / "start")
    assert client.read_all() == b"0123456789\n" * 500
    assert container.end() == 0
    assert len(records(container.log.read_bytes())) == 1
