"""docs/benchmarks.md from the results of a run: python -m bench.page RESULTS.json PAGE.md

The template is page.md; words that belong to single goals and rows are in notes.toml. The plots
go into a directory called like the page without its suffix. Results of other systems, beside
another C conmon, stand next to RESULTS.json as RESULTS-SYSTEM.json.
"""

from __future__ import annotations

import os
import string
import sys
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path

from bench import PROJECT, words
from bench.goals import GOALS, Goal, verdict
from bench.results import Measure, Results, RowResult, read

HERE = Path(__file__).resolve().parent
Notes = dict[str, dict[str, str]]
#: file name -> what it shows, and beginnings of the names of the rows that it is made from
PLOTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "throughput": ("Throughput of a k8s-file log by line length", ("k8s-file-",)),
    "cpu": ("CPU time for 1 GB of container output by line length", ("k8s-file-",)),
    "steady": ("CPU time of a line by pace: conmon's own, and the host's", ("steady-",)),
    "memory": ("Memory of each monitor by number of monitors", ("many",)),
    "crowd": ("What many containers cost, beside C conmon", ("crowd-", "many")),
    "latency": ("What a caller waits for: distributions", ("latency", "podman")),
}


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _machine(results: Results) -> str:
    lines = [[name, text] for name, text in results.machine.items()]
    if results.quick:
        lines.append(["mode", "**a quick run**: few samples"])
    return f"Taken {results.taken}.\n\n" + _table(["", ""], lines)


def _subjects(results: Results) -> str:
    lines = [
        [s["label"], f"`{s['program']}`", f"{int(s['bytes']):,}", f"`{s['sha256'][:16]}`"]
        for s in results.subjects
    ]
    return _table(["binary", "", "bytes", "sha256 begins with"], lines)


def _goals(results: Results, goals: Sequence[Goal] = GOALS) -> str:
    lines = []
    for goal in goals:
        row = results.row(goal.row)
        found = verdict(results, goal)
        outcome = words.outcome_text(results, found)
        lines.append([
            _link(row) if row else goal.row,
            goal.measure,
            words.bound_text(results, goal),
            words.value_text(results, found) if found else "",
            outcome if outcome == "met" else f"**{outcome}**",
        ])  # fmt: skip
    return _table(["work", "figure", "goal", "result", ""], lines)


def _missed(results: Results, words_: dict[str, str]) -> str:
    """Each goal that is missed, by how much, and what notes.toml says of it."""
    out = []
    for goal in GOALS:
        found = verdict(results, goal)
        if found is None or found.met:
            continue
        why = words_.get(goal.name, "Why has not been looked into yet.")
        short = words.shortfall_text(results, found)
        title = f"**{_title(results, goal)}: {goal.measure}** {words.bound_text(results, goal)}"
        out.append(f"- {title}, missed {short}. {why}")
    if not out:
        return "All goals that were measured are met."
    return "Missed:\n\n" + "\n".join(out)


def _title(results: Results, goal: Goal) -> str:
    row = results.row(goal.row)
    return row.title if row else goal.row


def _worse(results: Results) -> str:
    """Every measure, goal or not, in which the peer's median is better than ours."""
    out = []
    for row in results.rows:
        for measure in row.measures:
            value = words.ratio(row, measure, "ours")
            if value is None or (value >= 1 if measure.better == "more" else value <= 1):
                continue
            ours, peer = row.of(measure.name, "ours"), row.of(measure.name, "peer")
            out.append(
                f"- {_link(row)}, {measure.name}: {words.samples_text(ours)} {measure.unit} of ours"
                f" against {words.samples_text(peer)}, {words.ratio_text(value)}"
            )
    return "\n".join(out) or "In none of the figures of this run."


def _busy(results: Results, words_: dict[str, str]) -> str:
    """All figures of the rows that were run again beside other work, and how the goals stand."""
    if not results.busy_rows:
        return "Not measured in this run."
    loaded = results.beside_load()
    names = [results.label(subject["key"]) for subject in results.subjects]
    head = ["work", "figure", *(f"{name}{how}" for how in ("", ", busy") for name in names)]
    lines = []
    for row in loaded.rows:
        quiet = results.row(row.name)
        for measure in row.measures:
            cells = [
                _cell(one, measure, subject["key"])
                for one in (quiet, row)
                for subject in results.subjects
            ]
            lines.append([_link(row), f"{measure.name}, {measure.unit}", *cells])
    return "\n\n".join([
        f"{results.busy} processes that do nothing but run, for {results.machine['processor']}.",
        _table(head, lines),
        "The goals there:",
        _goals(loaded, [goal for goal in GOALS if loaded.row(goal.row)]),
        _missed(loaded, words_),
    ])  # fmt: skip


def _cell(row: RowResult | None, measure: Measure, who: str) -> str:
    """One subject's figure, and its ratio to the peer."""
    if row is None:
        return ""
    text = "failed" if who in row.failed else words.samples_text(row.of(measure.name, who))
    value = None if who == "peer" else words.ratio(row, measure, who)
    return f"{text}, {words.ratio_text(value)}" if value is not None else text


def _elsewhere(runs: Sequence[Results]) -> str:
    """Our ratios to the C conmon of each run, for all goals that are such a ratio."""
    head = ["work", "figure", *(f"{run.label('peer')}, {run.machine['system']}" for run in runs)]
    lines = []
    for goal in GOALS:
        if goal.kind == "ratio" and goal.beside == "peer":
            found = [(run, verdict(run, goal)) for run in runs]
            cells = [words.value_text(run, one) if one else "" for run, one in found]
            lines.append([_title(runs[0], goal), goal.measure, *cells])
    taken = [f"{run.machine['system']}: {run.taken}" for run in runs]
    return _table(head, lines) + f"\n\nTaken {'; '.join(taken)}."


def _plots(results: Results, drawn: Collection[str], directory: str) -> str:
    out = []
    for name in drawn:
        title, rows = PLOTS[name]
        scripts = {row.script for row in results.rows if row.name.startswith(rows)}
        links = ", ".join(_script(script) for script in sorted(scripts))
        out.append(
            f"### {title}\n\n![{title}]({directory}/{name}.svg)\n\n"
            f"Measured by {links}, drawn by {_script('bench/plots.py')}"
            f" ([PNG]({directory}/{name}.png))."
        )
    return "\n\n".join(out)


def _row(results: Results, row: RowResult, notes: Notes) -> str:
    out = [f"### {row.title}", f"{row.method} Script: {_script(row.script)}."]
    if row.missing:
        return "\n\n".join([*out, f"Not measured: {row.missing}."])
    subjects = [*(s["key"] for s in results.subjects), *words.LIMITS]
    shown = [who for who in subjects if any(who in found for found in row.samples.values())]
    shown += row.failed
    head = ["", *(words.who_text(results, who) for who in shown), "ratio"]
    lines = [_line(row, measure, shown) for measure in row.measures if measure.name in row.samples]
    out.append(_table(head, lines))
    counts = {len(s) for found in row.samples.values() for s in found.values()}
    out.append(
        f"Samples of each: {' to '.join(str(n) for n in sorted({min(counts), max(counts)}))}."
    )
    out += [f"{words.who_text(results, who)} {reason}." for who, reason in row.failed.items()]
    out += [f"{remark}." if remark[-1] != "." else remark for remark in row.remarks]
    if note := notes.get("rows", {}).get(row.name):
        out.append(note)
    return "\n\n".join(out)


def _line(row: RowResult, measure: Measure, shown: list[str]) -> list[str]:
    cells = [
        "failed" if who in row.failed else words.samples_text(row.of(measure.name, who))
        for who in shown
    ]
    value = words.ratio_text(words.ratio(row, measure, "ours"))
    return [f"{measure.name}, {measure.unit}", *cells, value]


def _link(row: RowResult) -> str:
    """A link to a row's heading, as the common renderers name these."""
    kept = [c for c in row.title.lower() if c.isalnum() or c in " -_"]
    return f"[{row.title}](#{''.join(kept).replace(' ', '-')})"


def _script(path: str) -> str:
    return f"[`{path}`](../{path})"


def elsewhere(path: Path) -> list[Results]:
    """The runs of other systems, next to the results of this path."""
    return [read(other) for other in sorted(path.parent.glob(f"{path.stem}-*.json"))]


def text(
    results: Results, drawn: Collection[str], directory: str, others: Sequence[Results] = ()
) -> str:
    """The page. `drawn` are the names of the plots in the directory; `others`: other systems."""
    notes: Notes = tomllib.loads((HERE / "notes.toml").read_text())
    return string.Template((HERE / "page.md").read_text()).substitute(
        machine=_machine(results),
        subjects=_subjects(results),
        goals=_goals(results),
        missed=_missed(results, notes.get("goals", {})),
        worse=_worse(results),
        busy=_busy(results, notes.get("busy", {})),
        elsewhere=_elsewhere([results, *others]),
        plots=_plots(results, drawn, directory),
        rows="\n\n".join(_row(results, row, notes) for row in results.rows),
    )


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    from bench import plots  # matplotlib is needed for nothing else

    results, path = read(Path(sys.argv[1])), Path(sys.argv[2])
    drawn = plots.draw(results, path.with_suffix(""))
    path.write_text(text(results, drawn, path.stem, elsewhere(Path(sys.argv[1]))))
    print(f"wrote {os.path.relpath(path.absolute(), PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
