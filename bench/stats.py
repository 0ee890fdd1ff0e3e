"""Medians and spread of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(samples: Sequence[float], part: float) -> float:
    """The value that `part` (0 to 1) of the samples do not exceed, interpolated.

    ValueError if there are none.
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    place = part * (len(ordered) - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(samples: Sequence[float]) -> float:
    """The middle of the samples. ValueError if there are none."""
    return percentile(samples, 0.5)


def quartiles(samples: Sequence[float]) -> tuple[float, float]:
    """Between these lies the middle half of the samples. ValueError if there are none."""
    return percentile(samples, 0.25), percentile(samples, 0.75)


def show(value: float) -> str:
    """A figure with three digits that count, as people write it."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(size)))}f}"
