"""A tenth of the fault injection, another tenth each day; `make faults` is all of it (C20)."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from faults import ptrace, sessions
from faults.attempt import attempt
from faults.campaign import NOT_REACHED, Campaign, at_once, run
from faults.tracer import Fault
from faults.verdict import GOOD, judge

PARTS = 10
#: No try is begun after so long, in seconds; what was left out is printed.
SECONDS = 60.0

pytestmark = [
    pytest.mark.skipif(
        not ptrace.known_processor(), reason="no tracer for this processor: faults/ptrace.py"
    ),
    pytest.mark.ours("docs/reliability.md says how often it ends badly"),
]


def chosen_part() -> int:
    """FAULTS_PART, or the day's."""
    return int(os.environ.get("FAULTS_PART", time.time() // 86400)) % PARTS


@pytest.mark.parametrize("name", sessions.ALL)
def test_session_without_a_fault(conmon_path: Path, name: str) -> None:
    """C4, C17: each session that faults are tried in works when there is none, under a tracer."""
    facts = attempt(conmon_path, name, None)
    assert judge(facts, sessions.ALL[name].promise, None)[0] == "all right", facts
    last = {each["process"]: each["call"] for each in facts.seen}
    assert len(last) >= 3
    # what executes the runtime is let go of there, and conmon itself goes on to its end
    assert list(last.values()).count("execve") == 1 + facts.exit_command
    assert "exit_group" in last.values()


def test_fault_strikes(conmon_path: Path) -> None:
    """C6.3: the call that is named fails, once, and the parent is told why."""
    fault = Fault("0.1", "socket", 1, "EMFILE")
    facts = attempt(conmon_path, "create", fault)
    assert facts.hit is not None
    assert judge(facts, sessions.ALL["create"].promise, None)[0] == "refused with the reason"
    assert "Too many open files" in "".join(facts.messages)


@pytest.mark.parametrize("call", ["bind", "mknodat", "vfork"])
def test_signal_during_the_launch(conmon_path: Path, call: str) -> None:
    """C21.10: a SIGTERM before there is a container ends the launch, and no name is left."""
    promise = sessions.ALL["create"].promise
    facts = attempt(conmon_path, "create", Fault("0.1", call, 1, "SIGTERM"))
    assert facts.hit is not None
    assert judge(facts, promise, None, terminated=True) == ("all right", ""), facts


def test_tenth_of_all_faults(conmon_path: Path) -> None:
    """C6, C7, C17, C20: whatever fails, the exit code arrives or the parent hears why not."""
    part = chosen_part()
    campaign = Campaign(conmon_path, sessions.ALL)
    tasks = campaign.list_tries()
    assert not campaign.unfit, campaign.unfit
    assert not campaign.unknown, f"not in errnos.toml: {sorted(campaign.unknown)}"
    tasks = [task for task in tasks if task.part(PARTS) == part]
    random.Random(part).shuffle(tasks)
    made = run(campaign, tasks, SECONDS, at_once(), print)
    print(f"FAULTS_PART={part}: {len(made)} of {len(tasks)} tries:", Counter(r.row for r in made))
    bad = [each for each in made if each.row not in (*GOOD, NOT_REACHED)]
    listed = "".join(
        f"\n{each.row} {each.again}: {each.key}\n  {each.words}\n"
        f"  PYTHONPATH=tests python3 -m faults {each.command}"
        for each in bad
    )
    assert not bad, f"FAULTS_PART={part}: unwanted:{listed}"
