"""conmonctl logs: what is printed of a log that is there."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from harness import Container

from .scenes import cid, finish, name, running
from .tool import Tool

TIME = "2026-11-22T06:00:%02d.123456789+00:00"

#: second, stream, tag, data
RECORDS = [
    (1, "stdout", "F", "one"),
    (2, "stdout", "P", "tw"),
    (3, "stderr", "F", "error"),
    (4, "stdout", "F", "o"),
    (5, "stderr", "P", "bad \udcff "),
    (6, "stderr", "F", "byte"),
    (7, "stdout", "P", "prompt: "),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with joined, mixed and unfinished lines."""
    path = tmp_path / "ctr.log"
    text = "".join(f"{TIME % second} {s} {tag} {data}\n" for second, s, tag, data in RECORDS)
    path.write_bytes(text.encode(errors="surrogateescape"))
    return path


def test_streams(conmonctl: Tool, log: Path) -> None:
    """C8: pieces are joined to lines; the container's stderr goes to stderr, byte for byte."""
    done = conmonctl("logs", "--file", str(log))
    assert done.out == "one\ntwo\nprompt: "
    assert done.err == "error\nbad \udcff byte\n"


def test_one_stream(conmonctl: Tool, log: Path) -> None:
    """logs --stream: the other one is left out."""
    done = conmonctl("logs", "--file", str(log), "--stream", "stderr")
    assert (done.out, done.err) == ("", "error\nbad \udcff byte\n")


@pytest.mark.parametrize(
    ("last", "out", "err"),
    [
        ("0", "", ""),
        ("1", "prompt: ", ""),
        ("2", "prompt: ", "bad \udcff byte\n"),
        ("3", "two\nprompt: ", "bad \udcff byte\n"),
        ("100", "one\ntwo\nprompt: ", "error\nbad \udcff byte\n"),
    ],
)
def test_tail(conmonctl: Tool, log: Path, last: str, out: str, err: str) -> None:
    """logs --tail: whole lines, of both streams, counted by where they end."""
    done = conmonctl("logs", "--file", str(log), "--tail", last)
    assert (done.out, done.err) == (out, err)


def test_tail_of_one_stream(conmonctl: Tool, log: Path) -> None:
    """logs --tail --stream: the lines of that stream are counted."""
    done = conmonctl("logs", "--file", str(log), "--tail", "2", "--stream", "stdout")
    assert (done.out, done.err) == ("two\nprompt: ", "")


def test_since(conmonctl: Tool, log: Path) -> None:
    """logs --since: a line counts from when it began; zones are minded."""
    for start in ("2026-11-22T06:00:03Z", "2026-11-22T08:00:03+02:00", "2026-11-22 06:00:03"):
        done = conmonctl("logs", "--file", str(log), "--since", start)
        assert (done.out, done.err) == ("prompt: ", "error\nbad \udcff byte\n")
    ago = dt.datetime.now(dt.UTC) - dt.datetime(2026, 11, 22, 6, 0, 3, tzinfo=dt.UTC)
    if ago > dt.timedelta(minutes=1):
        start = f"{ago.total_seconds() + 60:.0f}s"  # conmonctl looks at the clock later than we do
        assert conmonctl("logs", "--file", str(log), "--since", start).err.endswith("byte\n")
    conmonctl("logs", "--file", str(log), "--since", "soon", code=2)


def test_timestamps(conmonctl: Tool, log: Path) -> None:
    """logs -t: the time of a line's first piece stands before it."""
    done = conmonctl("logs", "-t", "--file", str(log), "--stream", "stdout")
    assert done.out == f"{TIME % 1} one\n{TIME % 2} two\n{TIME % 7} prompt: "


def test_json(conmonctl: Tool, log: Path) -> None:
    """logs --json: one object per line, all on stdout; what is no text is base64."""
    done = conmonctl("logs", "--json", "--file", str(log))
    assert done.err == ""
    assert done.objects == [
        {"v": 1, "time": TIME % 1, "stream": "stdout", "text": "one"},
        {"v": 1, "time": TIME % 3, "stream": "stderr", "text": "error"},
        {"v": 1, "time": TIME % 2, "stream": "stdout", "text": "two"},
        {"v": 1, "time": TIME % 5, "stream": "stderr", "base64": "YmFkIP8gYnl0ZQ=="},
        {"v": 1, "time": TIME % 7, "stream": "stdout", "text": "prompt: ", "partial": True},
    ]


def test_rotated(conmonctl: Tool, log: Path) -> None:
    """logs --rotated: older files come first, the oldest at the start; others are not read."""
    for suffix, text in (("1", "younger"), ("2", "older"), ("10", "oldest"), ("new", "no")):
        record = f"{TIME % 0} stdout F {text}\n"
        log.with_name(f"{log.name}.{suffix}").write_text(record)
    done = conmonctl("logs", "--rotated", "--file", str(log))
    assert done.out == "oldest\nolder\nyounger\none\ntwo\nprompt: "
    done = conmonctl("logs", "--rotated", "--tail", "4", "--file", str(log))
    assert (done.out, done.err) == ("two\nprompt: ", "error\nbad \udcff byte\n")


def test_lines_that_are_no_records(conmonctl: Tool, log: Path) -> None:
    """What is no record is left out, and said so."""
    log.write_bytes(b"rubbish\n" + log.read_bytes())
    done = conmonctl("logs", "--file", str(log))
    assert done.out.startswith("one\n")
    assert "1 lines of the log are no records" in done.err


def test_reader_that_goes(conmonctl: Tool, tmp_path: Path) -> None:
    """A reader that has enough, as head, ends it without a word."""
    path = tmp_path / "big.log"
    path.write_text(f"{TIME % 1} stdout F {'x' * 100}\n" * 20_000)
    with conmonctl.start("logs", "--file", str(path)) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(b"xxx")
        process.stdout.close()
        process.wait(timeout=30)
        assert process.stderr.read() == b""


def test_real_log(conmonctl: Tool, container: Container) -> None:
    """C8: what a container wrote comes out again, long lines and all."""
    data = os.urandom(150_000).replace(b"\n", b"\r") + b"\nshort\n"
    container.put("data", data)
    running(container, "cat data; echo problem >&2")
    container.wait_log(b" short\n")
    container.wait_log(b" problem\n")
    done = conmonctl("logs", name(container))
    assert done.out.encode(errors="surrogateescape") == data
    assert done.err == "problem\n"
    finish(container)


def test_no_log_file(conmonctl: Tool, container: Container) -> None:
    """A container that logs to no file is told apart, and where its log is."""
    container.options["-l"] = "none"
    running(container)
    assert "logs to none" in conmonctl("logs", name(container), code=1).err
    finish(container)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((), 2),
        (("web", "--file", "x"), 2),
        (("no-such-container",), 3),
        (("--file", "/no"), 1),
        (("--file", "/dev/null"), 1),
        (("--file", "/dev"), 1),
    ],
)
def test_refusals(conmonctl: Tool, args: tuple[str, ...], code: int) -> None:
    """Exit status: 2 for the command line, 3 for a container that is not there."""
    done = conmonctl("logs", *args, code=code)
    assert done.out == ""
    assert "Traceback" not in done.err


def test_journald_is_named(conmonctl: Tool, container: Container) -> None:
    """With the journal, the message says how to read it."""
    container.options["-l"] = "journald"
    running(container)
    err = conmonctl("logs", name(container), code=1).err
    assert f"journalctl CONTAINER_ID_FULL={cid(container)}" in err
    finish(container)
