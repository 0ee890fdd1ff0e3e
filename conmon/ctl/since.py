"""Points in time as people give them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def parse(text: str, now: dt.datetime) -> dt.datetime:
    """A time with zone: `90s`, `1h30m` before `now`, or ISO 8601. ValueError if neither.

    A time without zone is a local one.
    """
    if _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        return now - dt.timedelta(seconds=seconds)
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.astimezone()


class Moment(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks
    """A click type for these."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.datetime:
        """Read it, or say what is understood."""
        if isinstance(value, dt.datetime):
            return value
        try:
            return parse(value, dt.datetime.now().astimezone())
        except (ValueError, OverflowError):
            self.fail(
                f"'{value}' is neither like 90s, 10m, 1h30m, 2d nor a date and time", param, ctx
            )
