"""The core runs in pytest's own process here: what a test limits must not meet pytest."""

from __future__ import annotations

import resource
from collections.abc import Generator

import pytest

LIMITS = resource.getrlimit(resource.RLIMIT_FSIZE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Take a limit of files' sizes back before the result is written, perhaps into a file."""
    try:
        return (yield)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, LIMITS)
