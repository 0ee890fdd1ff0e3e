"""Pages that are made from the sources are current."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent


def test_contract_page_is_current() -> None:
    """docs/contract.md names the tests that there are: `make contract` would change nothing."""
    made = subprocess.run(
        [sys.executable, TOP / "tools" / "contract_table.py"], capture_output=True, check=True
    )
    assert (TOP / "docs" / "contract.md").read_bytes() == made.stdout
