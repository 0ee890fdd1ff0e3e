"""Numbers, times and names as people read them."""

from __future__ import annotations

import datetime as dt

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: int | None) -> str:
    """Bytes in decimal units and three digits: `0B`, `999B`, `1.2kB`, `34MB`. None is `-`."""
    if count is None:
        return "-"
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    digits = 1 if unit and value < 9.95 else 0
    return f"{value:.{digits}f}{_UNITS[unit]}"


def count(number: int | None) -> str:
    """A number in groups of three: `1,234`. None is `-`."""
    return "-" if number is None else f"{number:,}"


def duration(seconds: float) -> str:
    """The two largest units: `5s`, `3m12s`, `2h05m`, `4d03h`."""
    left = int(seconds)
    if left < 60:
        return f"{left}s"
    if left < 3600:
        return f"{left // 60}m{left % 60:02}s"
    if left < 86400:
        return f"{left // 3600}h{left % 3600 // 60:02}m"
    return f"{left // 86400}d{left % 86400 // 3600:02}h"


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in local time, to the second."""
    moment = dt.datetime.fromtimestamp(seconds).astimezone()
    return moment.isoformat(timespec="seconds")


def visible(text: str) -> str:
    """Text of unknown origin without what a terminal would obey, or what is no character.

    Control characters and bytes that are no UTF-8 are shown as `\\x1b`, a newline as `\\n`.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def visible_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(map(visible, text.split("\n")))


def _escaped(char: str) -> str:
    if 0xDC80 <= ord(char) <= 0xDCFF:  # a byte that was no UTF-8 (surrogateescape)
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
