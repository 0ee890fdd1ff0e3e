"""The four combinations that every test runs in, and what to do where one cannot be had."""

import os

import pytest

# (runtime, rootless)
ROOT = [("crun", False), ("runc", False)]
ROOTLESS = [("crun", True), ("runc", True)]


def combination_id(combination: tuple[str, bool]) -> str:
    """The name of a combination in a test's id."""
    runtime, rootless = combination
    return f"{runtime}-{'rootless' if rootless else 'root'}"


def cannot(reason: str) -> None:
    """Skip what cannot be had, except in CI, where everything must be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
