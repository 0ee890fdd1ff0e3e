"""Waiting for something that sends no event, with a bound."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.01


def until(probe: Callable[[], T], what: str, timeout_s: float = 30) -> T:
    """Call ``probe`` until its result is true, and return that result.

    Raises TimeoutError, naming ``what`` was awaited, after ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not (result := probe()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s for {what}; last seen: {result!r}")
        time.sleep(PAUSE_S)
    return result
