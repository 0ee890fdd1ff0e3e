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
