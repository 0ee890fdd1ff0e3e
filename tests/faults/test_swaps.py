"""Names that somebody swaps while a conmon uses them: docs/security.md, Paths."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from faults import ptrace, sessions, swaps
from faults.attempt import attempt
from faults.campaign import at_once
from faults.test_faults import PARTS, SECONDS, chosen_part
from faults.tracer import SWAP, Fault

pytestmark = [
    pytest.mark.skipif(
        not ptrace.known_processor(), reason="no tracer for this processor: faults/ptrace.py"
    ),
    pytest.mark.ours("it follows links in the place of its files"),
]


def test_swap_that_is_followed(conmon_path: Path) -> None:
    """C10: a log that is a link when conmon starts is written to through it: this test would see
    it if another one were.
    """
    fault = Fault("0", "openat", 1, SWAP + "link-to-nothing")
    for seen in attempt(conmon_path, "create", None).seen:
        if seen["call"] == "openat" and seen["named"] == "/logs/ctr.log":
            fault = Fault(seen["process"], "openat", seen["occurrence"], fault.error)
            break
    result = swaps.make(swaps.Task(conmon_path, "create", fault, "openat", "/logs/ctr.log"))
    assert result.task.by_design()
    assert "out 39." in result.bad


def test_tenth_of_all_swaps(conmon_path: Path) -> None:
    """C17, C20: whatever takes the place of a name, nothing that is elsewhere is touched, and
    conmon ends when its container does.
    """
    part = chosen_part()
    tasks = list(swaps.list_tasks(conmon_path, sessions.ALL))
    tasks = [task for task in tasks if task.part(PARTS) == part]
    random.Random(part).shuffle(tasks)
    made = swaps.run(tasks, SECONDS, at_once())
    print(f"FAULTS_PART={part}: {len(made)} of {len(tasks)} swaps")
    bad = [str(each) for each in made if each.bad]
    assert made
    assert not bad, f"FAULTS_PART={part}:\n" + "\n".join(bad)
