"""docs/systems.md: what was run where is what docs/systems.json has, and nothing has failed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def everywhere() -> ModuleType:
    """tools/everywhere.py."""
    spec = importlib.util.spec_from_file_location("everywhere", TOP / "tools" / "everywhere.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_made_from_the_results(everywhere: ModuleType) -> None:
    """Systems: no figure on the page was written by hand."""
    assert (TOP / "docs" / "systems.md").read_text() == everywhere.page() + "\n"


def test_what_is_shown_has_passed(everywhere: ModuleType) -> None:
    """Systems: what is on the page is a system of `make check-everywhere`, without a failure."""
    match = re.search(r"^SYSTEMS \?= (.*)$", (TOP / "Makefile").read_text(), re.MULTILINE)
    assert match is not None
    results = everywhere.read()
    assert results and set(results) <= set(match[1].split())
    for result in results.values():
        assert result["counts"]["passed"] > 0
        assert not {"failed", "error", "errors"} & result["counts"].keys()


def test_outcome_of_a_run(everywhere: ModuleType) -> None:
    """Systems: counts of several runs are added up; each reason for skipping is kept."""
    found = everywhere.outcome([
        "kernel 6.1", "kernel 7", "SKIPPED [2] tests/a/test_b.py:3: there is no runc",
        "== 3 passed, 2 skipped in 1.25s ==", "=== 1 failed, 4 passed in 70.00s (0:01:10) ===",
    ])  # fmt: skip
    assert found["facts"] == {"kernel": "6.1"}
    assert found["skips"] == [[2, "there is no runc"]]
    assert found["counts"] == {"passed": 7, "skipped": 2, "failed": 1}
    assert everywhere.outcome(["kernel 6.1", "Killed"]) is None
