"""What a row's module is given: subjects, places on disk, and the order of the turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.progress import Progress
from bench.results import Measure, RowResult
from bench.subjects import Subject


class CannotMeasureError(Exception):
    """What a row needs is not to be had on this machine; the text says what."""


@dataclass(frozen=True)
class Row:
    """One kind of work: a line of the table. `measure` does it."""

    name: str
    title: str
    method: str
    measures: tuple[Measure, ...]
    measure: Callable[[Bench], None]
    module: str
    quick: bool = True  # also in a quick run
    main: bool = False  # also beside busy processes

    @property
    def script(self) -> str:
        """The file that it is measured by, relative to the project."""
        return self.module.replace(".", "/") + ".py"


class Turn:
    """One subject's turn, or that of a limit to compare with; warm-ups leave no samples."""

    def __init__(self, result: RowResult, who: str, number: int) -> None:
        self.who = who
        self.number = number
        self.warm_up = number < 0
        self._result = result

    def add(self, measure: str, value: float) -> None:
        """One sample of this turn."""
        if not self.warm_up:
            self._result.add(measure, self.who, value)


class Bench:
    """A run. `ram` is a directory in memory, `disk` one on a disk; both are emptied by their users.

    `begin` makes it the run of one row: `result`. `subjects` are those that have not failed in it.
    """

    def __init__(
        self, subjects: list[Subject], ram: Path, disk: Path, quick: bool, progress: Progress
    ) -> None:
        self.subjects = self._all = subjects
        self.whose = ""
        self.ram = ram
        self.disk = disk
        self.quick = quick
        self.progress = progress
        self.result: RowResult
        self._numbers = 0

    def begin(self, row: Row, failed: Mapping[str, str]) -> RowResult:
        """Take up a row: where its samples go from now on. Without those that have failed in it."""
        self.result = RowResult(row.name, row.title, row.script, row.method, list(row.measures))
        self.result.failed = dict(failed)
        self.subjects = [subject for subject in self._all if subject.key not in failed]
        self.whose = ""
        return self.result

    def each(self) -> Iterator[Subject]:
        """The subjects, one after the other. `whose` says whose fault it is if something fails."""
        for subject in self.subjects:
            self.whose = subject.key
            yield subject
        self.whose = ""

    def subject(self, who: str) -> Subject:
        """The conmon of this key. KeyError if it is none."""
        for subject in self.subjects:
            if subject.key == who:
                return subject
        raise KeyError(who)

    def pick(self, full: int, quick: int) -> int:
        """One of two sizes: of the full run, or of the quick one."""
        return quick if self.quick else full

    def number(self) -> int:
        """A number that was not given before in this run, for names."""
        self._numbers += 1
        return self._numbers

    def turns(
        self,
        rounds: int,
        *,
        limits: Sequence[str] = (),
        only: Sequence[str] = (),
        warm_ups: int = 1,
        seconds: float = 60.0,
    ) -> Iterator[Turn]:
        """All subjects (and limits) take turns, A B A B, after warm-ups that leave no samples.

        Every other round goes backwards, so that nobody always follows the same other. After
        `seconds` no further round begins, but three are done in any case.
        """
        names = [subject.key for subject in self.subjects if not only or subject.key in only]
        names += limits
        end = time.monotonic() + seconds
        for number in range(-warm_ups, rounds):
            if number >= min(3, rounds) and time.monotonic() > end:
                self.result.remarks.append(f"{number} rounds: the time for this row was over")
                return
            for who in names if number % 2 == 0 else reversed(names):
                what = "warm-up" if number < 0 else f"{number + 1} of {rounds}"
                self.progress.say(f"{what}, {who}")
                self.whose = who if who not in limits else ""
                yield Turn(self.result, who, number)
                self.whose = ""
