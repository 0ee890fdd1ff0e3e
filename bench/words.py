"""Figures and goals in words, for the terminal and for the page."""

from __future__ import annotations

from bench.goals import Goal, Verdict
from bench.results import Measure, Results, RowResult
from bench.stats import median, quartiles, show

LIMITS = {"cat": "`cat`", "alone": "no conmon"}


def who_text(results: Results, who: str) -> str:
    """What a subject or limit is called."""
    return LIMITS.get(who) or results.label(who)


def samples_text(samples: list[float]) -> str:
    """Median and, behind it, between what the middle half lies."""
    if not samples:
        return ""
    if len(samples) == 1:
        return show(samples[0])
    low, high = quartiles(samples)
    return f"{show(median(samples))} ({show(low)}–{show(high)})"


def ratio(row: RowResult, measure: Measure, who: str, to: str = "peer") -> float | None:
    """Median of one subject by that of another, if there are both."""
    one, other = row.of(measure.name, who), row.of(measure.name, to)
    if not one or not other or median(other) == 0:
        return None
    return median(one) / median(other)


def ratio_text(value: float | None) -> str:
    """A ratio for people."""
    if value is None:
        return ""
    return f"{show(value)}×" if value < 1000 else "> 1,000×"


def others_text(row: RowResult) -> str:
    """How busy the machine was with other things meanwhile."""
    if row.others is None:
        return "an unknown part of the CPU time went elsewhere"
    return f"{row.others * 100:.0f} % of the CPU time went elsewhere"


def measure_of(results: Results, goal: Goal) -> Measure | None:
    """The measure that a goal is about, if its row was run."""
    row = results.row(goal.row)
    found = [known for known in row.measures if known.name == goal.measure] if row else []
    return found[0] if found else None


def bound_text(results: Results, goal: Goal) -> str:
    """The goal itself, in short: ≤ 0.33× of C conmon."""
    sign = "≥" if goal.least else "≤"
    measure = measure_of(results, goal)
    unit = f" {measure.unit}" if measure else ""
    who, _, own = goal.beside.partition(":")
    beside = f"our own {own}" if own else LIMITS.get(who, "C conmon")
    if goal.kind == "value":
        return f"{sign} {goal.bound:g}{unit}"
    if goal.kind == "difference":
        return f"{sign} {beside} + {goal.bound:g}{unit}"
    return f"{sign} {goal.bound:g}× {beside}"


def value_text(results: Results, verdict: Verdict) -> str:
    """What came out, as the goal counts."""
    measure = measure_of(results, verdict.goal)
    unit = f" {measure.unit}" if measure else ""
    if verdict.goal.kind == "ratio":
        return ratio_text(verdict.value)
    if verdict.goal.kind == "difference":
        sign = "+" if verdict.value >= 0 else "−"
        return f"{sign} {show(abs(verdict.value))}{unit}"
    return f"{show(verdict.value)}{unit}"


def shortfall_text(results: Results, verdict: Verdict) -> str:
    """By how much a goal is missed: in parts of its bound, or in the unit of the measure."""
    goal = verdict.goal
    if goal.kind == "difference" or goal.bound == 0:
        measure = measure_of(results, goal)
        unit = f" {measure.unit}" if measure else ""
        return f"by {show(abs(verdict.value - goal.bound))}{unit}"
    part = verdict.value / goal.bound
    return f"by {abs(part - 1) * 100:.0f} %" if part < 2 else f"by a factor of {show(part)}"


def outcome_text(results: Results, verdict: Verdict | None) -> str:
    """Whether a goal is met."""
    if verdict is None:
        return "not measured"
    return "met" if verdict.met else f"missed {shortfall_text(results, verdict)}"
