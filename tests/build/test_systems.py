"""What tools/everywhere.py makes of runs of the tests in systems, and docs/systems.md."""

from __future__ import annotations

import re
import subprocess
import sys

from harness_build import TOP

sys.path.append(str(TOP))  # behind the conmon that was built

from tools import everywhere

RUN = """\
system Debian GNU/Linux 13 (trixie)
C conmon 2.1.12
.....
SKIPPED [132] tests/differential/test_differential.py:63: compares with other versions
SKIPPED [1] tests/unit/test_cli_peer.py:114: the peer's libc is old
FAILED tests/unit/test_a.py::test_b - assert 1 == 2
============ 1 failed, 2724 passed, 133 skipped in 632.24s (0:10:32) ============
"""


def test_outcome_of_a_run() -> None:
    """Counts, facts, and each reason for a skip with its number."""
    result = everywhere.outcome(RUN.splitlines())
    assert result == {
        "facts": {"system": "Debian GNU/Linux 13 (trixie)", "C conmon": "2.1.12"},
        "skips": [[132, "compares with other versions"], [1, "the peer's libc is old"]],
        "counts": {"failed": 1, "passed": 2724, "skipped": 133},
    }


def test_run_that_was_cut_off() -> None:
    """A run without an end is no result."""
    assert everywhere.outcome(RUN.splitlines()[:-1]) is None


def test_facts_of_this_machine() -> None:
    """Each fact of the table is told by tools/versions.sh."""
    done = subprocess.run(
        [TOP / "tools" / "versions.sh"], cwd=TOP, capture_output=True, text=True, check=True
    )
    for fact, line in zip(everywhere.FACTS, done.stdout.splitlines(), strict=True):
        assert line.startswith(fact + " ")


def test_page_is_made_from_the_results() -> None:
    """No figure on the page was written by hand."""
    assert (TOP / "docs" / "systems.md").read_text() == everywhere.page() + "\n"


def test_what_is_shown_has_passed() -> None:
    """What is on the page is a system of `make check-everywhere`, without a failure."""
    match = re.search(r"^SYSTEMS \?= (.*)$", (TOP / "Makefile").read_text(), re.MULTILINE)
    assert match is not None
    results = everywhere.read()
    assert results and set(results) <= set(match[1].split())
    for result in results.values():
        assert result["counts"]["passed"] > 0
        assert not {"failed", "error", "errors"} & result["counts"].keys()
