"""Benchmarks: this conmon beside others, in one run. `python -m bench --help`, docs/benchmarks.md.

`rows/` has one module for each kind of work that is measured; goals.py has what we want of them.
The containers are those of the tests: tests/standin and tests/real_podman.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
STANDIN = PROJECT / "tests" / "standin"

# The test bed with podman is a package of the tests.
if str(PROJECT / "tests") not in sys.path:
    sys.path.append(str(PROJECT / "tests"))
