"""C conmon and ours play the same scenarios: all that a caller can see is the same.

Where it is not, tests/differential/differences.py says so and why. What needs more than a runtime
of a shell script is compared elsewhere: the journal's entries in tests/contract/test_c18_journald.
Where C conmon hangs or spins there is nothing to compare: those tests are marked `ours`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from differential import (
    scenarios_cli,
    scenarios_clients,
    scenarios_create,
    scenarios_exec,
    scenarios_logs,
)
from differential.compare import Difference, Kind, differing, judge
from differential.differences import ALLOWED
from differential.stage import Scenario, Stage
from harness import Guard, conmon_version, is_peer

PEER = Path("/usr/bin/conmon")
PEER_VERSIONS = ((2, 1, 6), (2, 1, 12), (2, 1, 13))  # Debian 12's, 13's and testing's
SCENARIOS = [
    *scenarios_create.SCENARIOS,
    *scenarios_cli.SCENARIOS,
    *scenarios_logs.SCENARIOS,
    *scenarios_exec.SCENARIOS,
    *scenarios_clients.SCENARIOS,
]


def cannot(why: str) -> None:
    assert "CI" not in os.environ, why
    pytest.skip(why)


@pytest.fixture
def peer(conmon_path: Path) -> Path:
    """A C conmon that the list of differences is about."""
    if not os.access(PEER, os.X_OK):
        cannot(f"compares with {PEER}, which is not installed")
    if conmon_version(PEER) not in PEER_VERSIONS:
        cannot(f"compares with versions {PEER_VERSIONS}, {PEER} is {conmon_version(PEER)}")
    if is_peer(conmon_path):
        pytest.skip("compares another conmon with the C conmon")
    return PEER


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory whose path has the same length in each run: long ones are cut (C12)."""
    with tempfile.TemporaryDirectory(prefix="cmd-", dir="/tmp") as name:
        yield Path(name)


@pytest.mark.peer
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_same_as_the_peer(scenario: Scenario, peer: Path, conmon_path: Path, place: Path) -> None:
    """C1, C3, C4, C5, C6, C7, C8, C9, C10, C12, C13, C14, C16, C17, C19: as C conmon does it."""
    allowed = [difference for difference in ALLOWED if difference.holds_for(conmon_version(peer))]
    seen = []
    for name, conmon in (("peer", peer), ("ours", conmon_path)):
        with Guard() as guard:
            seen.append(Stage(scenario, conmon, place / name, guard).play())
    unlisted, missing = judge(scenario.name, differing(*seen), allowed)
    assert not unlisted, f"not in differences.py: {unlisted}\n{scenario.what}"
    assert not missing, f"in differences.py, but no difference any more: {missing}"


def test_every_difference_is_of_a_scenario() -> None:
    """The list of differences names no scenario that there is not."""
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) == len(set(names))
    for difference in ALLOWED:
        assert difference.scenarios
        assert set(difference.scenarios) <= set(names), difference.what


def test_the_judge() -> None:
    """What is not listed is found, and so is what is listed and does not differ."""
    found = differing({"a": ["same", "theirs"]}, {"a": ["same", "own"], "b": ["new"]})
    assert found == ["a | C | theirs", "a | ours | own", "b | ours | new"]
    listed = Difference(Kind.CHOICE, "", "", ("here",), ("a | C | theirs", "a | C | gone"))
    assert judge("here", found, [listed]) == (
        ["a | ours | own", "b | ours | new"],
        ["a | C | gone"],
    )
    assert judge("there", found, [listed]) == (found, [])
    assert listed.holds_for((2, 1, 12))
    between = Difference(Kind.OLDER, "", "", (), (), since=(2, 1, 12), before=(2, 1, 13))
    assert [between.holds_for((2, 1, patch)) for patch in (6, 12, 13)] == [False, True, False]
    wide = Difference(Kind.CHOICE, "", "", (), tuple(found), elsewhere=True)
    assert judge("there", found, [wide]) == ([], [])
