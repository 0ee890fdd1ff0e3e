"""Pages that are made from the sources are current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("page", ["contract", "differences"])
def test_page_is_current(page: str) -> None:
    """`make contract` would change nothing: the pages tell of the tests that there are."""
    made = subprocess.run(
        [sys.executable, TOP / "tools" / f"{page}_table.py"], capture_output=True, check=True
    )
    assert (TOP / "docs" / f"{page}.md").read_bytes() == made.stdout


def test_every_fault_has_a_test() -> None:
    """C20: each of its 23 rows names a test in docs/contract.md."""
    rows = (TOP / "docs" / "contract.md").read_text().partition("\n## C20 ")[2].split("\n- **C20.")
    assert [int(row.partition("*")[0]) for row in rows[1:]] == list(range(1, 24))
    assert [row for row in rows[1:] if "test_" not in row] == []
