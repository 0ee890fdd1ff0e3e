"""C8: the k8s-file log."""

from __future__ import annotations

import os
import signal

import pytest
from harness import Container
from harness_log import lines, records, written


def log_of(container: Container, command: str, **settings: object) -> bytes:
    """The whole log of a container that runs `command`."""
    container.command(command)
    assert container.run(**settings) == 0
    return container.log.read_bytes()


def contents(log: bytes) -> list[tuple[str, str, bytes]]:
    return [(record.stream, record.tag, record.data) for record in records(log)]


def test_line(container: Container) -> None:
    """C8.1: time, stream, F, data."""
    assert contents(log_of(container, "echo hello")) == [("stdout", "F", b"hello")]


def test_stderr(container: Container) -> None:
    """C8.1: the container's stderr is marked so."""
    assert contents(log_of(container, "echo oops >&2")) == [("stderr", "F", b"oops")]


@pytest.mark.parametrize(
    ("zone", "offset"),
    [("UTC0", b"+00:00"), ("IST-5:30", b"+05:30"), ("XXX9:45", b"-09:45"), ("YYY-14", b"+14:00")],
)
def test_time_zone(container: Container, zone: str, offset: bytes) -> None:
    """C8.1: local time of conmon's TZ with a numeric offset, never Z."""
    [record] = records(log_of(container, "echo x", environment={"TZ": zone}))
    assert record.time.endswith(offset)


def test_lines_of_one_write_share_their_time(container: Container) -> None:
    """C8.1: the clock is read once for a chunk."""
    found = records(log_of(container, r"printf 'a\nb\nc\n'"))
    assert [record.data for record in found] == [b"a", b"b", b"c"]
    assert len({record.time for record in found}) == 1


def test_no_final_newline(container: Container) -> None:
    """C8.2: an unfinished last line is one P record, and nothing follows it."""
    assert contents(log_of(container, r"printf 'one\ntwo'")) == [
        ("stdout", "F", b"one"),
        ("stdout", "P", b"two"),
    ]


def test_empty_lines(container: Container) -> None:
    """C8.2: an empty line is an F record without data."""
    found = contents(log_of(container, r"printf '\n\nx\n\n'"))
    assert [data for _, _, data in found] == [b"", b"", b"x", b""]
    assert {tag for _, tag, _ in found} == {"F"}


def test_line_in_two_writes(container: Container) -> None:
    """C8.2: the piece that completes a line is F, also when only the newline was missing."""
    container.fifo("go")
    container.command(r"printf half; read -r _ <go; printf '\n'")
    container.launch()
    container.started()
    container.wait_log(b" stdout P half\n")
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0
    assert contents(container.log.read_bytes()) == [("stdout", "P", b"half"), ("stdout", "F", b"")]


def test_any_byte_passes(container: Container) -> None:
    """C8.3: all 256 values, NUL included, are logged as they are."""
    data = bytes(range(256)) * 3 + b"\n"
    container.put("data", data)
    assert written(log_of(container, "cat data")) == data


def test_long_line(container: Container) -> None:
    """C8.2: a line of 20000 bytes is P records and one F, and none of its bytes is lost."""
    container.put("data", b"0123456789" * 2000 + b"\nnext\n")
    log = log_of(container, "cat data")
    assert lines(log) == [b"0123456789" * 2000 + b"\n", b"next\n"]
    assert [record.tag for record in records(log)][-2:] == ["F", "F"]
    assert "P" in [record.tag for record in records(log)]


def test_much_output(container: Container) -> None:
    """C8.2, C17.2: 3 MB of lines of all lengths come through whole, also when the end is near."""
    data = b"".join(b"%d " % number * (number % 97) + b"\n" for number in range(15000))
    assert len(data) > 3_000_000
    container.put("data", data)
    assert written(log_of(container, "exec cat data")) == data


def test_two_streams_in_their_order(container: Container) -> None:
    """C8.1: what is written to one stream after the other is logged in that order."""
    container.fifo("go")
    container.command(
        "for n in 1 2 3; do echo out$n; read -r _ <go; echo err$n >&2; read -r _ <go; done"
    )
    container.launch()
    container.started()
    for number in (1, 2, 3):
        for stream in ("out", "err"):
            container.wait_log(f" {stream}{number}\n".encode())
            container.open_fifo(container.bundle / "go")
    assert container.end() == 0
    expected = [(f"std{s}", "F", f"{s}{n}".encode()) for n in (1, 2, 3) for s in ("out", "err")]
    assert contents(container.log.read_bytes()) == expected


def test_streams_do_not_mix(container: Container) -> None:
    """C8.2: unfinished lines of the two streams are kept apart."""
    log = log_of(
        container, "i=0; while [ $i -lt 200 ]; do printf a; printf b >&2; i=$((i+1)); done"
    )
    assert written(log, "stdout") == b"a" * 200
    assert written(log, "stderr") == b"b" * 200


def test_output_of_the_runtime_is_logged(container: Container) -> None:
    """C4.16, C8: the runtime shares the container's streams."""
    container.put("stderr", b"a warning of the runtime\n")
    log = log_of(container, "echo x")
    assert ("stderr", "F", b"a warning of the runtime") in contents(log)


def test_log_is_appended_to(container: Container) -> None:
    """C4.2: an existing log is kept."""
    old = b"2020-01-01T00:00:00.000000000+00:00 stdout F old\n"
    container.log.write_bytes(old)
    log = log_of(container, "echo new")
    assert log.startswith(old)
    assert [record.data for record in records(log)] == [b"old", b"new"]


def test_output_of_the_last_moment(container: Container) -> None:
    """C17.2: what a dying container has left in its pipes is logged, to the last byte."""
    container.put("data", b"x" * 60000)
    log = log_of(container, "cat data; cat data >&2; exit 0")
    assert written(log, "stdout") == written(log, "stderr") == b"x" * 60000


def test_output_of_what_outlives_the_container_process(container: Container) -> None:
    """C17.2: a process that keeps the streams open does not keep conmon from ending."""
    container.command("sleep 1000 & echo $! >seen/other; echo last")
    container.record()
    container.launch()
    container.started()
    assert container.end() == 0
    assert contents(container.log.read_bytes()) == [("stdout", "F", b"last")]
    os.kill(int((container.seen / "other").read_text()), signal.SIGKILL)


def test_no_sync_log(container: Container) -> None:
    """C17.3: without the final fsync the log is just as complete."""
    container.command("echo all")
    assert container.run("--no-sync-log") == 0
    assert contents(container.log.read_bytes()) == [("stdout", "F", b"all")]
