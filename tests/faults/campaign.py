"""All tries of a conmon: what to try is listed first, then each is made on its own."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import calls, sessions
from faults.attempt import attempt
from faults.frames import Frames
from faults.stage import Facts
from faults.tracer import DELAY, TERM, Fault, Seen
from faults.verdict import GOOD, judge

#: Beside the rows of the verdicts: the session took another way, and the call did not come.
NOT_REACHED = "not reached"
_LISTINGS = 2
# C conmon now and then fails without a fault
_TRUST = 3
_AGAIN = 1


@dataclass(frozen=True)
class Task:
    """One try to be made. `key` says what it is about, whatever its place in the session."""

    conmon: Path
    session: str
    fault: Fault
    key: str
    kind: str  # key of the call in the table of errors

    def part(self, parts: int) -> int:
        """Tries of one key are always in the same part."""
        return int(hashlib.sha256(self.key.encode()).hexdigest()[:8], 16) % parts

    def command(self) -> str:
        return f"--conmon {self.conmon} --session {self.session} {self.fault.options()}"


@dataclass
class Result:
    session: str
    process: str
    call: str
    occurrence: int
    error: str
    key: str
    row: str
    words: str
    again: list[str]
    about: str
    frames: list[str]
    seconds: float
    command: str


def key_of(session: str, process: str, call: str, about: str, error: str) -> str:
    return " ".join(filter(None, (session, process, call, about, error)))


class Campaign:
    """The tries of one conmon."""

    def __init__(self, conmon: Path, names: Iterable[str], delays: bool = True) -> None:
        self.conmon = conmon
        self.names = list(names)
        self.delays = delays
        self.usual: dict[str, Facts] = {}
        self.unknown: set[str] = set()
        self.unfit: dict[str, str] = {}
        self._frames = Frames(conmon)

    def list_tries(self) -> list[Task]:
        """Play each session without a fault, twice: which calls does it make?"""
        tasks: list[Task] = []
        for name in self.names:
            seen: dict[tuple[str, str, int], Seen] = {}
            for _ in range(_LISTINGS):
                if not self._list(name, seen):
                    break
            else:
                tasks += self._tasks(name, seen.values())
        return tasks

    def _list(self, name: str, seen: dict[tuple[str, str, int], Seen]) -> bool:
        """Play a session without a fault and add its calls; False if it does not work."""
        for _ in range(_TRUST):
            facts = attempt(self.conmon, name, None)
            row, words = judge(facts, sessions.ALL[name].promise, None)
            if row == "all right":
                self.usual[name] = facts
                self.unfit.pop(name, None)
                for each in map(_seen, facts.seen):
                    seen[each.process, each.call, each.occurrence] = each
                return True
            self.unfit[name] = f"{row}: {words}"
        return False

    def _tasks(self, name: str, seen: Iterable[Seen]) -> Iterator[Task]:
        seen = list(seen)
        others = {each.process for each in seen if each.call == "execve"}
        for each in seen:
            errors = calls.errors(each.key)
            if errors is None:
                self.unknown.add(each.key)
                continue
            # a signal to what is about to be the runtime or the exit command is not conmon's
            signals = [] if each.process in others else [TERM]
            for error in [*errors, *([DELAY, *signals] if self.delays else [])]:
                key = key_of(name, each.process, each.key, each.about, error)
                fault = Fault(each.process, each.call, each.occurrence, error)
                yield Task(self.conmon, name, fault, key, each.key)

    def make(self, task: Task) -> Result:
        """Make one try; what is unwanted is tried again, to tell the rare from the sure."""
        facts = self._try(task)
        row, words = self.judge(task, facts)
        again: list[str] = []
        if row not in (*GOOD, NOT_REACHED):
            again = [self.judge(task, self._try(task))[0] for _ in range(_AGAIN)]
        hit = facts.hit or {}
        fault = task.fault
        return Result(
            task.session, fault.process, fault.call, fault.occurrence, fault.error, task.key,
            row, words, again, f"{hit.get('key', '')} {hit.get('about', '')}".strip(),
            self._frames.names(hit.get("stack", [])), round(facts.seconds, 2), task.command(),
        )  # fmt: skip

    def _try(self, task: Task) -> Facts:
        usual = self.usual[task.session].fds
        for _ in range(1 + _AGAIN):
            facts = attempt(self.conmon, task.session, task.fault, usual)
            if facts.hit is not None and facts.hit["key"] == task.kind:
                break
        return facts

    def judge(self, task: Task, facts: Facts) -> tuple[str, str]:
        promise = sessions.ALL[task.session].promise
        terminated = task.fault.error == TERM
        row, words = judge(facts, promise, self.usual.get(task.session), terminated)
        if facts.hit["key"] != task.kind if facts.hit is not None else row in GOOD:
            return NOT_REACHED, words
        return row, words


def _seen(fields: dict[str, Any]) -> Seen:
    return Seen(**fields)


class _Maker:
    """What a forked worker holds: tasks alone go through its pipe."""

    campaign: Campaign


def _make(task: Task) -> Result:
    return _Maker.campaign.make(task)


def run(
    campaign: Campaign, tasks: list[Task], seconds: float, workers: int, say: Callable[[str], None]
) -> list[Result]:
    """Make all tries, on several processors; those that time is left for."""
    _Maker.campaign = campaign
    results: list[Result] = []
    begin = time.monotonic()
    calls.names()  # once, before the workers are forked
    with multiprocessing.get_context("fork").Pool(workers, maxtasksperchild=200) as pool:
        for result in pool.imap_unordered(_make, tasks):
            results.append(result)
            if result.row not in (*GOOD, NOT_REACHED):
                say(f"{result.row}: {result.key}: python -m faults {result.command}")
            if len(results) % 100 == 0:
                say(progress(results, len(tasks), time.monotonic() - begin))
            if 0 < seconds < time.monotonic() - begin:
                break
    return results


def progress(results: list[Result], total: int, seconds: float) -> str:
    bad = Counter(each.row for each in results if each.row not in GOOD)
    rows = ", ".join(f"{row} {count}" for row, count in bad.most_common())
    return f"{len(results)} of {total} tries in {seconds:.0f} s: {rows or 'nothing unwanted'}"


def at_once() -> int:
    """How many tries to make at once: each waits half of its time."""
    return 2 * len(os.sched_getaffinity(0))


def say_on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
