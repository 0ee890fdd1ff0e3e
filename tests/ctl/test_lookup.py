"""From words to monitors: command lines, and what names them."""

from __future__ import annotations

import struct

import pytest

from conmon import cli
from conmon.ctl import counters, lookup, monitors
from conmon.ctl.errors import Ambiguous, NoSuchContainer
from conmon.ctl.monitors import Monitor
from conmon.host import procfs


def monitor(pid: int, cid: str, name: str, session: str | None = None) -> Monitor:
    """A monitor as it would have been found."""
    return Monitor(
        pid=pid,
        argv=(),
        stat=procfs.Stat("conmon", "S", 1, pid, pid, 1, pid),
        uid=0,
        options=cli.Options(),
        id=cid,
        name=name,
        session=session,
    )


FOUND = [
    monitor(1, "abc1", "web"),
    monitor(2, "abc1", "web", "f00d"),
    monitor(3, "abc1", "web", "f00f"),
    monitor(4, "abd2", "db"),
    monitor(5, "web9", "abc1x"),
    monitor(6, "cafe", "twin"),
    monitor(7, "beef", "twin"),
]


@pytest.mark.parametrize(
    ("word", "pid"),
    [
        ("web", 1),  # a name counts before the start of an id
        ("abc1", 1),
        ("abc", 1),
        ("abd", 4),
        ("web9", 5),
        ("abc1x", 5),
        ("f00d", 2),
        ("web/f00d", 2),
        ("abc/f00f", 3),
    ],
)
def test_one_is_meant(word: str, pid: int) -> None:
    """A name, an id or the start of one; CONTAINER/SESSION, or a session by itself."""
    assert lookup.one(word, FOUND).pid == pid


@pytest.mark.parametrize(("age_s", "seen"), [(0.0, {"records": 1}), (3600.0, None)])
def test_counters_of_a_young_monitor(
    age_s: float, seen: dict[str, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has just started gets a moment to publish its counters; who is old has none."""
    answers: list[dict[str, int] | None] = [None, None, {"records": 1}]
    monkeypatch.setattr(counters, "read", lambda pid: answers.pop(0))
    monkeypatch.setattr(Monitor, "age_s", lambda self: age_s)
    assert FOUND[0].counters() == seen


@pytest.mark.parametrize("word", ["", "/", "nope", "web/", "web/nope", "nope/f00d", "bc1"])
def test_none_is_meant(word: str) -> None:
    """What belongs to no monitor is exit status 3."""
    with pytest.raises(NoSuchContainer) as caught:
        lookup.one(word, FOUND)
    assert caught.value.status == 3


@pytest.mark.parametrize(("word", "named"), [("ab", "abd2"), ("web/f0", "f00f"), ("twin", "beef")])
def test_several_are_meant(word: str, named: str) -> None:
    """An ambiguous word is exit status 4, and the candidates are listed."""
    with pytest.raises(Ambiguous, match=named) as caught:
        lookup.one(word, FOUND)
    assert caught.value.status == 4


def test_order_of_several() -> None:
    """Monitors come in their own order, each once, however they are named."""
    assert [m.pid for m in lookup.some(["db", "web", "abc1"], FOUND)] == [1, 4]


def test_options_of_another_version_are_left_out() -> None:
    """A conmon with options that ours lacks is found all the same, with the rest of its options."""
    words = [b"--seccomp-notify-socket", b"/x", b"-c", b"abc", b"--bogus=1", b"-n", b"web", b"-Z"]
    options = monitors.parse(words)
    assert options is not None
    assert (options.cid, options.name) == (b"abc", b"web")


@pytest.mark.parametrize(
    "words",
    [[], [b"--version"], [b"--help"], [b"-n", b"web"], [b"-c", b"x", b"--exit-delay", b"soon"]],
)
def test_what_is_no_monitor(words: list[bytes]) -> None:
    """A conmon that only says something, or was called wrongly, monitors nothing."""
    assert monitors.parse(words) is None


def record(
    magic: int = 0x434F4E4D4F4E5243, version: int = 1, count: int = 2, names: bytes = b"a b\0"
) -> bytes:
    """A record with two counters, a and b, as docs/counters.md lays it out."""
    size = 28 + 4 + 16 + len(names)
    parts = struct.pack("=QIIIII", magic, version, size, 32, count, 48)
    return parts + bytes(4) + struct.pack("=QQ", 7, 1 << 63) + names


def test_counters_by_name() -> None:
    """A record describes itself."""
    assert counters.parse(record()) == {"a": 7, "b": 1 << 63}


@pytest.mark.parametrize(
    "data",
    [b"", record(magic=1), record(version=2), record(count=9999), record(names=b"a b"),
     record(names=b"a\0"), record()[:-1]],
)  # fmt: skip
def test_what_is_no_record(data: bytes) -> None:
    """Memory that is not a record, or not of a known version, is not taken for one."""
    with pytest.raises(ValueError, match=r"."):
        counters.parse(data)
