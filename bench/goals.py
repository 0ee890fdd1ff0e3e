"""What we want of the figures, in one place, and whether a run meets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.results import Results
from bench.stats import median

Kind = Literal["ratio", "difference", "value"]


@dataclass(frozen=True)
class Goal:
    """One goal: a measure of ours, alone or beside the same measure of another.

    `beside` is a subject or limit of the row, or `ours:MEASURE` for another measure of our own.
    `bound` is a ratio, or in the unit of the measure; `least` says that more is better.
    """

    row: str
    measure: str
    bound: float
    kind: Kind = "ratio"
    beside: str = "peer"
    least: bool = False

    @property
    def name(self) -> str:
        """What notes.toml calls it."""
        return (
            f"{self.row}/{self.measure}/{self.beside}"
            if self.kind != "value"
            else (f"{self.row}/{self.measure}")
        )


@dataclass(frozen=True)
class Verdict:
    """How a run stands to a goal. `value` is to be compared with its bound."""

    goal: Goal
    value: float
    met: bool


def _faster(row: str, ratio: float, beside: str = "peer") -> Goal:
    return Goal(row, "MB/s", ratio, beside=beside, least=True)


def _cpu(row: str, ratio: float) -> Goal:
    return Goal(row, "CPU", ratio)


GOALS: list[Goal] = [
    _faster("k8s-file-100", 3.3),
    _faster("k8s-file-100", 0.9, beside="cat"),
    _cpu("k8s-file-100", 0.33),
    _faster("k8s-file-10", 4),
    _cpu("k8s-file-10", 0.25),
    _faster("k8s-file-16384", 1.3),
    _cpu("k8s-file-16384", 0.7),
    _cpu("null-device", 0.5),
    Goal("one-by-one", "CPU per line", 0.7),
    Goal("crowd-lines", "CPU per line", 0.5),
    Goal("crowd-lines", "write to log, p99", 10, kind="value"),
    Goal("crowd-at-once", "end of all", 1.0),
    Goal("crowd-probes", "CPU of the host per probe", 0.95),
    Goal("many", "memory of the host, each of 1000", 0.5),
    Goal("steady-1000", "CPU per line", 0.5),
    Goal("steady-1000", "CPU of the host per line", 0.7),
    Goal("steady-10000", "CPU per line", 0.2),
    Goal("steady-10000", "CPU of the host per line", 0.7),
    _faster("none", 4),
    _cpu("none", 0.1),
    _cpu("journald", 1),
    Goal("journald", "CPU, queue of 10", 1),
    _cpu("terminal", 0.8),
    _faster("attach", 1.5),
    _cpu("attach", 0.6),
    # "unchanged", but for the noise
    Goal("attach-stuck", "MB/s with it", 0.95, beside="ours:MB/s without", least=True),
    Goal("rotation", "new file, p99", 1),
    Goal("memory", "private dirty", 100, kind="value"),
    Goal("memory", "private dirty after logs", 100, kind="value"),
    # "the same", but for a page or two
    Goal("memory", "private dirty after logs", 8, "difference", "ours:private dirty"),
    Goal("memory", "RSS", 0.6),
    Goal("many", "PSS each of 100", 0.3),
    Goal("many", "PSS each of 1000", 0.3),
    Goal("wake-ups", "with pipes", 0, kind="value"),
    Goal("wake-ups", "with a terminal", 0, kind="value"),
    Goal("version", "time", 0.6),
    Goal("latency", "exec to pid", 1),
    Goal("latency", "death to exit file", 0.3, kind="difference"),
    Goal("latency", "CPU of the end", 1),
    Goal("podman", "podman run --rm", 1),
    Goal("podman", "podman exec", 1),
    Goal("exec-cpu", "own CPU of 1,000", 1),
]

_COMPARE: dict[Kind, Callable[[float, float], float]] = {
    "ratio": lambda ours, other: ours / other,
    "difference": lambda ours, other: ours - other,
    "value": lambda ours, _: ours,
}


def verdict(results: Results, goal: Goal) -> Verdict | None:
    """How the run stands to one goal, by medians. None if it has not what it takes."""
    row = results.row(goal.row)
    if row is None or row.missing:
        return None
    ours = row.of(goal.measure, "ours")
    who, _, measure = goal.beside.partition(":")
    other = row.of(measure or goal.measure, who)
    if not ours or not other or (goal.kind == "ratio" and median(other) == 0):
        return None
    value = _COMPARE[goal.kind](median(ours), median(other))
    return Verdict(goal, value, value >= goal.bound if goal.least else value <= goal.bound)
