"""The plots of a run: SVG and PNG. Needs matplotlib (the extra `bench`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.results import Results
from bench.stats import median, quartiles

plt.switch_backend("Agg")

COLOURS = {"ours": "#0b6bcb", "peer": "#c2410c", "cat": "#6b7280"}
MORE_COLOURS = ("#15803d", "#7c3aed", "#b45309")
STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#e5e7eb",
    "legend.frameon": False,
    "svg.hashsalt": "conmon",  # the same results give the same file
    "svg.fonttype": "none",
}
_DISTRIBUTIONS = (
    ("latency", "exec to pid"),
    ("latency", "death to exit file"),
    ("podman", "podman run --rm"),
    ("podman", "podman exec"),
)
#: Row, measure, and what the plot calls it.
_CROWDS = (
    ("crowd-lines", "CPU per line", "200 that log, own CPU"),
    ("crowd-lines", "CPU of the host per line", "200 that log, host's CPU"),
    ("crowd-probes", "CPU of the host per probe", "100 with probes, host's CPU"),
    ("crowd-probes", "peak memory", "100 with probes, peak memory"),
    ("crowd-at-once", "start of all", "200 at once, start"),
    ("crowd-at-once", "end of all", "200 at once, end"),
    ("many", "memory of the host, each of 1000", "1,000 idle, host's memory"),
)


def draw(results: Results, directory: Path) -> list[str]:
    """Draw what the results have the rows for: the names of the plots, without suffix."""
    directory.mkdir(parents=True, exist_ok=True)
    done = []
    with mpl.rc_context(STYLE):
        for name, figure in (
            ("throughput", _by_length(results, "MB/s", "MB/s of container output")),
            ("cpu", _by_length(results, "CPU", "CPU seconds per GB")),
            ("steady", _by_pace(results)),
            ("memory", _by_count(results)),
            ("crowd", _crowds(results)),
            ("latency", _distributions(results)),
        ):
            if figure is None:
                continue
            for suffix in ("svg", "png"):
                dated = {"Date": None} if suffix == "svg" else {}
                figure.savefig(directory / f"{name}.{suffix}", dpi=120, metadata=dated)
            plt.close(figure)
            done.append(name)
    return done


def _colour(results: Results, who: str) -> str:
    if who in COLOURS:
        return COLOURS[who]
    others = [s["key"] for s in results.subjects if s["key"] not in COLOURS]
    return MORE_COLOURS[others.index(who) % len(MORE_COLOURS)]


def _label(results: Results, who: str) -> str:
    return "cat > file (the limit)" if who == "cat" else results.label(who)


def _figure(wide: int = 1, high: int = 1) -> Any:
    size = (7.5, 4.2) if wide == high == 1 else (4.6 * wide, 3.2 * high)
    return plt.subplots(high, wide, figsize=size, layout="constrained")


def _curves(
    results: Results, axes: Any, points: dict[str, list[tuple[float, list[float]]]]
) -> None:
    """One curve for each subject: medians, with the quartiles as bars."""
    for who, samples in points.items():
        middle = [median(values) for _, values in samples]
        low, high = zip(*(quartiles(values) for _, values in samples), strict=True)
        errors = [
            [a - b for a, b in zip(middle, low, strict=True)],
            [b - a for a, b in zip(middle, high, strict=True)],
        ]
        axes.errorbar(
            [x for x, _ in samples], middle, yerr=errors, marker="o", markersize=4, capsize=3,
            color=_colour(results, who), label=_label(results, who),
        )  # fmt: skip
    axes.legend()


def _by_length(results: Results, measure: str, label: str) -> Any:
    points: dict[str, list[tuple[float, list[float]]]] = {}
    for row in results.rows:
        match = re.fullmatch(r"k8s-file-(\d+)", row.name)
        if match:
            for who, samples in row.samples.get(measure, {}).items():
                points.setdefault(who, []).append((int(match[1]), samples))
    if not points:
        return None
    figure, axes = _figure()
    axes.set(xscale="log", yscale="log", xlabel="bytes in a line", ylabel=label)
    _curves(results, axes, points)
    ticks = sorted({x for samples in points.values() for x, _ in samples})
    axes.set_xticks(ticks, [f"{int(x):,}" for x in ticks], minor=False)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    _even_ticks(axes)
    return figure


def _even_ticks(axes: Any) -> None:
    """On a logarithmic axis of few decades: 1, 2, 5, 10, ..."""
    axes.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))


def _by_pace(results: Results) -> Any:
    panels = (("CPU per line", "conmon's own"), ("CPU of the host per line", "the host's"))
    rows = [(row, re.fullmatch(r"steady-(\d+)", row.name)) for row in results.rows]
    paces = [(int(match[1]), row) for row, match in rows if match and row.samples]
    if not paces:
        return None
    figure, all_axes = _figure(2)
    for axes, (measure, title) in zip(all_axes.flat, panels, strict=True):
        points: dict[str, list[tuple[float, list[float]]]] = {}
        for pace, row in sorted(paces):
            for who, samples in row.samples.get(measure, {}).items():
                points.setdefault(who, []).append((pace, samples))
        label = f"{title} CPU time of a line, µs"
        axes.set(xscale="log", yscale="log", xlabel="lines a second", ylabel=label)
        _curves(results, axes, points)
        axes.set_xticks([pace for pace, _ in paces], [f"{pace:,}" for pace, _ in paces])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        _even_ticks(axes)
    return figure


def _by_count(results: Results) -> Any:
    row = results.row("many")
    if row is None or not row.samples:
        return None
    points: dict[str, list[tuple[float, list[float]]]] = {}
    for measure, subjects in row.samples.items():
        if not measure.startswith("PSS"):
            continue
        for who, samples in subjects.items():
            points.setdefault(who, []).append((int(measure.split()[-1]), samples))
    figure, axes = _figure()
    axes.set(xscale="log", xlabel="monitors running", ylabel="PSS of each, kB")
    _curves(results, axes, points)
    ticks = sorted({x for samples in points.values() for x, _ in samples})
    axes.set_xticks(ticks, [f"{int(x):,}" for x in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    return figure


def _crowds(results: Results) -> Any:
    """What many containers cost, beside C conmon: bars, the shorter the better."""
    bars = []
    for name, measure, label in _CROWDS:
        row = results.row(name)
        samples = row.samples.get(measure, {}) if row is not None else {}
        if samples.get("peer"):
            bars.append((label, {who: median(found) for who, found in samples.items()}))
    if not bars:
        return None
    figure, axes = _figure()
    subjects = [subject["key"] for subject in results.subjects]
    height = 0.8 / len(subjects)
    for place, who in enumerate(subjects):
        shown = [(at, found) for at, (_, found) in enumerate(bars) if who in found]
        axes.barh(
            [at + place * height for at, _ in shown],
            [found[who] / found["peer"] for _, found in shown],
            height, color=_colour(results, who), label=_label(results, who),
        )  # fmt: skip
    middle = (len(subjects) - 1) * height / 2
    axes.set_yticks([at + middle for at in range(len(bars))], [label for label, _ in bars])
    axes.invert_yaxis()
    axes.set(xlabel="ratio to C conmon")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(subjects))
    return figure


def _distributions(results: Results) -> Any:
    """For each time: which part of the samples took no longer than x."""
    found = []
    for name, measure in _DISTRIBUTIONS:
        row = results.row(name)
        if row is not None and row.samples.get(measure):
            found.append((measure, row.samples[measure]))
    if not found:
        return None
    figure, all_axes = _figure(2, (len(found) + 1) // 2)
    panels = list(all_axes.flat)
    for axes, (measure, subjects) in zip(panels, found, strict=False):
        for who, samples in subjects.items():
            axes.ecdf(samples, color=_colour(results, who), label=_label(results, who))
        longest = max(sorted(s)[int(len(s) * 0.98)] for s in subjects.values())
        axes.set(xlabel=f"{measure}, ms", ylabel="part of all", xlim=(0, longest * 1.05))
    panels[0].legend(loc="lower right")
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    return figure
