"""Keys, times, numbers and names, as people write and read them."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conmon.ctl import keys, since, text

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("words", "sequence"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-x", b"\x18"),
        ("a,ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"a\0\x1b\x1c\x1d\x1e\x1f"),
        ("", b""),
    ],
)
def test_detach_keys(words: str, sequence: bytes) -> None:
    """--detach-keys takes what podman and docker take."""
    assert keys.parse(words) == sequence


@pytest.mark.parametrize("words", ["ctrl-", "ctrl-P", "ctrl-1", "ab", "a,,b", "é", "\x10"])
def test_what_is_no_key(words: str) -> None:
    """--detach-keys: what is no key is refused."""
    with pytest.raises(ValueError, match="is no key"):
        keys.parse(words)


@given(
    st.binary(max_size=30).map(lambda data: bytes(b"pq."[byte % 3] for byte in data)),
    st.lists(st.integers(1, 4), max_size=40),
    st.sampled_from([b"pq", b"ppq", b"p", b"pp", b"pqp", b""]),
)
def test_detach_keys_in_any_pieces(typed: bytes, sizes: list[int], sequence: bytes) -> None:
    """Detach keys: found whenever they were typed, however the keys come; the rest is passed on."""
    matcher = keys.Matcher(sequence)
    passed = b""
    rest = typed
    found = False
    for size in [*sizes, 30]:
        piece, rest = rest[:size], rest[size:]
        data, found = matcher.feed(piece)
        passed += data
        if found:
            break
    at = typed.find(sequence) if sequence else -1
    assert found == (at >= 0)
    if found:
        assert passed == typed[:at]
    else:
        held = typed[len(passed) :]
        assert typed.startswith(passed)
        assert sequence.startswith(held)
        assert len(held) < max(1, len(sequence))


@pytest.mark.parametrize(
    ("words", "moment"),
    [
        ("90s", NOW - dt.timedelta(seconds=90)),
        ("1h30m", NOW - dt.timedelta(minutes=90)),
        ("1.5d", NOW - dt.timedelta(hours=36)),
        ("2026-11-01T10:00:00+02:00", dt.datetime(2026, 11, 1, 8, tzinfo=dt.UTC)),
        ("2026-11-01", dt.datetime(2026, 11, 1).astimezone()),
    ],
)
def test_points_in_time(words: str, moment: dt.datetime) -> None:
    """--since takes durations, and ISO 8601 that is local where it has no zone."""
    assert since.parse(words, NOW) == moment


@pytest.mark.parametrize("words", ["", "10", "m", "10x", "yesterday", "-5m"])
def test_what_is_no_point_in_time(words: str) -> None:
    """--since: anything else is refused."""
    with pytest.raises(ValueError, match=r"."):
        since.parse(words, NOW)


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0B"), (999, "999B"), (1000, "1.0kB"), (9949, "9.9kB"), (9950, "10kB"), (999_499, "999kB"),
     (999_500, "1.0MB"), (10**13, "10TB"), (10**19, "10000PB"), (None, "-")],
)  # fmt: skip
def test_sizes(count: int | None, words: str) -> None:
    """Bytes have three digits at most, and no space: a table's cell is one word."""
    assert text.size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.9, "0s"),
        (59, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (7500, "2h05m"),
        (357_000, "4d03h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    """The two largest units, of the same width."""
    assert text.duration(seconds) == words


@given(st.text() | st.binary().map(lambda data: data.decode(errors="surrogateescape")))
def test_nothing_for_the_terminal_to_obey(name: str) -> None:
    """Names and arguments of containers are shown, never obeyed, and always encodable."""
    shown = text.visible(name)
    assert shown.isprintable()
    shown.encode()


def test_escapes_tell_what_was_there() -> None:
    """Bytes that are no UTF-8 and control characters can be read."""
    name = b"a\x1b[31m\n\xff\xc3\xa9".decode(errors="surrogateescape")
    assert text.visible(name) == "a\\x1b[31m\\n\\xffé"
