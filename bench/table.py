"""The results of a run as text for a terminal."""

from __future__ import annotations

from bench import words
from bench.goals import GOALS, verdict
from bench.results import Results, RowResult


def row_text(results: Results, row: RowResult) -> str:
    """One row: each measure of each subject as median (quartiles), and the ratio to the peer."""
    out = [f"{row.title}   ({row.seconds:.0f} s, {words.others_text(row)})"]
    if row.missing:
        out.append(f"  {row.missing}")
    for measure in row.measures:
        for who, samples in row.samples.get(measure.name, {}).items():
            line = f"  {measure.name:24} {words.who_text(results, who).strip('`'):18} "
            line += f"{words.samples_text(samples):>26} {measure.unit:5}"
            if who != "peer":
                line += " " + words.ratio_text(words.ratio(row, measure, who))
            out.append(line.rstrip())
    for who, reason in row.failed.items():
        out.append(f"  {words.who_text(results, who)} {reason}")
    return "\n".join([*out, *(f"  {remark}" for remark in row.remarks)])


def goals_text(results: Results) -> str:
    """All goals that the run says something about, and whether they are met."""
    out = ["Goals"]
    for goal in GOALS:
        row = results.row(goal.row)
        if row is None:
            continue
        found = verdict(results, goal)
        value = words.value_text(results, found) if found else ""
        out.append(
            f"  {goal.row:16} {goal.measure:24} {words.bound_text(results, goal):>34}"
            f" {value:>10}  {words.outcome_text(results, found)}"
        )
    return "\n".join(out) if len(out) > 1 else ""
