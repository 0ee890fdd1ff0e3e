"""Names swapped: when a conmon is about to use a name, somebody puts another thing in its place.

The tracer does it at the entry of the call, as the quickest of attackers would. What is outside
of the directories that conmon was given must stay as it was, and conmon must end when its
container does.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faults import calls, names
from faults.attempt import attempt
from faults.sessions import Session
from faults.stage import BOUND_S, Facts, Gone, Hang, Stage
from faults.tracer import SWAP, Fault
from faults.verdict import unsound

#: How long a session is waited for that may have lost what it needs, in seconds.
_SHORT_S = 2.0
#: Directories that conmon's options name.
GIVEN = ("/bundle", "/bundle/notify", "/exits", "/persist", "/sockets")


@dataclass(frozen=True)
class Task:
    """One swap to be tried: in which call (a key of errnos.toml), of which name."""

    conmon: Path
    session: str
    fault: Fault
    key: str
    name: str

    @property
    def kind(self) -> str:
        """Of names.KINDS."""
        return self.fault.error.removeprefix(SWAP)

    def by_design(self) -> bool:
        """docs/security.md, Paths: what is followed, or waited for, as the caller's own doing."""
        if self.name == "/logs/ctr.log" and self.kind == "hard-link":
            return True
        if self.name == "/logs/ctr.log" and self.fault.process == "0":  # at the start
            return self.kind in ("link-to-file", "link-to-nothing", "link-to-fifo", "fifo")
        return self.name in GIVEN and self.kind == "link-to-directory"

    def part(self, of: int) -> int:
        """Which part of all this is in, the same in each run."""
        words = f"{self.session} {self.fault}"
        return hashlib.sha256(words.encode()).digest()[0] % of


@dataclass(frozen=True)
class Result:
    """What came of it: "" where all is well."""

    task: Task
    bad: str

    def __str__(self) -> str:
        task = self.task
        where = f"{task.session} {task.fault.process} {task.key} {task.name}"
        return f"{where} {task.kind}: {self.bad}"


def play(stage: Stage, session: Session) -> None:
    """A session that may lose its way: then all but conmon is killed, and conmon has to end."""
    root = str(stage.container.root)
    names.make_outside(root)
    before = names.look_outside(root)
    stage.bound_s = _SHORT_S
    try:
        with contextlib.suppress(Gone, Hang, OSError, AssertionError):
            session.play(stage)
        stage.expect(_SHORT_S)
        with contextlib.suppress(Gone, Hang):
            stage.wait(lambda: not stage.conmons(), "end of all")
        _kill_others(stage)
        stage.expect(BOUND_S)
        stage.end()
        names.put_back(root)
        after = names.look_outside(root)
        stage.facts.outside = sorted(
            f"{name}: {before.get(name)} -> {after.get(name)}"
            for name in before.keys() | after.keys()
            if before.get(name) != after.get(name)
        )
    finally:
        names.remove_outside(root)


def _kill_others(stage: Stage) -> None:
    conmon = os.path.realpath(stage.container.conmon)
    for pid in {*stage.conmons(), stage.container_pid()} - {0}:
        with contextlib.suppress(OSError):
            if os.path.realpath(f"/proc/{pid}/exe") != conmon:
                os.kill(pid, signal.SIGKILL)


def judge(facts: Facts) -> str:
    """What is wrong; "" if nothing."""
    if facts.outside:
        return "; ".join(facts.outside)
    if found := unsound(facts):
        return ": ".join(found)
    return f"left behind: {facts.left}" if facts.left else ""


def list_tasks(conmon: Path, sessions: Iterable[str]) -> Iterator[Task]:
    """All swaps at all calls that these sessions make with a name."""
    for name in sessions:
        for seen in attempt(conmon, name, None).seen:
            if seen["named"]:
                for kind in names.KINDS:
                    fault = Fault(seen["process"], seen["call"], seen["occurrence"], SWAP + kind)
                    task = Task(conmon, name, fault, seen["key"], seen["named"])
                    if not task.by_design():
                        yield task


def make(task: Task) -> Result:
    """Try one swap."""
    facts = attempt(task.conmon, task.session, task.fault, play=play)
    return Result(task, judge(facts))


def run(tasks: list[Task], seconds: float, workers: int) -> list[Result]:
    """Try them, several at once, as far as time allows."""
    calls.names()
    results: list[Result] = []
    end = time.monotonic() + seconds
    with multiprocessing.get_context("fork").Pool(workers, maxtasksperchild=200) as pool:
        for result in pool.imap_unordered(make, tasks):
            results.append(result)
            if time.monotonic() > end:
                break
    return results
