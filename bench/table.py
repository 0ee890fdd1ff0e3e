"""The results of a run as text for a terminal."""

from __future__ import annotations

from bench.results import Results, RowResult
from bench.stats import median, quartiles, show


def row_text(results: Results, row: RowResult) -> str:
    """One row: each measure of each subject as median (quartiles), and the ratio to the peer."""
    out = [f"{row.title}   ({row.seconds:.0f} s)"]
    if row.missing:
        out.append(f"  {row.missing}")
    for measure in row.measures:
        samples = row.samples.get(measure.name, {})
        peer = samples.get("peer")
        for who, values in samples.items():
            low, high = quartiles(values)
            spread = f"({show(low)} to {show(high)})" if len(values) > 1 else ""
            line = f"  {measure.name:22} {results.label(who):22} {show(median(values)):>9}"
            line += f" {measure.unit:6} {spread:22}"
            if peer and who != "peer" and median(peer):
                line += f" {median(values) / median(peer):.2f}x"
            out.append(line.rstrip())
    return "\n".join([*out, *(f"  {remark}" for remark in row.remarks)])
