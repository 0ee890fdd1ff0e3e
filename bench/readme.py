"""The table of figures in README.md: python -m bench.readme RESULTS.json README.md

It stands between two comments there, and is made from the same results as docs/benchmarks.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.results import Results, read
from bench.stats import median, show

BEGIN = "<!-- made by `make bench-page`: do not edit -->"
END = "<!-- end of what is made -->"
#: heading -> row and measure
COLUMNS = {
    "private dirty kB": ("memory", "private dirty"),
    "RSS kB": ("memory", "RSS"),
    "PSS kB, each of 1,000": ("many", "PSS each of 1000"),
    "`--version` ms": ("version", "time"),
    "log MB/s": ("k8s-file-100", "MB/s"),
    "CPU s/GB": ("k8s-file-100", "CPU"),
}


def table(results: Results) -> str:
    """The table with its comments. Cells of what was not measured are empty."""
    head = ["", *COLUMNS, "file, bytes"]
    lines = [head, ["---"] * len(head)]
    for subject in results.subjects:
        cells = [subject["label"]]
        for name, measure in COLUMNS.values():
            row = results.row(name)
            samples = row.of(measure, subject["key"]) if row else []
            cells.append(show(median(samples)) if samples else "")
        lines.append([*cells, f"{int(subject['bytes']):,}"])
    rows = [f"| {' | '.join(line)} |" for line in lines]
    machine = results.machine
    taken = f"From one run of `make bench` ({results.taken}): {machine['processor']},"
    taken += f" {machine['system']}, Linux {machine['kernel']}."
    return "\n".join([BEGIN, *rows, "", taken, END])


def replaced(text: str, results: Results) -> str:
    """The text of README.md with the table of these results. ValueError without the comments."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the comments around the table of figures are missing")
    return before + table(results) + after


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(sys.argv[2])
    path.write_text(replaced(path.read_text(), read(Path(sys.argv[1]))))
    print(f"wrote the figures in {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
