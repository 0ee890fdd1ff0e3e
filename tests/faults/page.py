"""The table of a campaign, and its place in docs/reliability.md.

python -m faults.page build/faults.json docs/reliability.md
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from faults.verdict import ROWS

_BEGIN = "<!-- made by `make faults-page`: do not edit -->"
_END = "<!-- end of what is made -->"


def table(runs: list[dict[str, Any]]) -> str:
    """Rows: what came of the tries; columns: the conmons."""
    counts = [Counter(each["row"] for each in run["results"]) for run in runs]
    rows = [*ROWS, *sorted({row for count in counts for row in count} - set(ROWS))]
    heads = [f"{_name(run)} {run['version']}" for run in runs]
    lines = [["", *heads], ["---"] + ["---:"] * len(runs)]
    lines.append(["tries", *(f"{len(run['results']):,}" for run in runs)])
    lines += [[row, *(f"{count[row]:,}" for count in counts)] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _name(run: dict[str, Any]) -> str:
    ours = tuple(map(int, run["version"].split("."))) >= (2, 3)
    return "this conmon" if ours else "C conmon"


def text(held: dict[str, Any]) -> str:
    runs = held["runs"]
    names = ", ".join(runs[0]["sessions"])
    left = [f"C conmon's {name} ({why.partition(':')[0]})"
            for run in runs[1:] for name, why in run["unfit"].items()]  # fmt: skip
    return "\n".join([
        _BEGIN, table(runs), "",
        f"From one run of `make faults` ({held['date']}); sessions: {names}."
        + (f" Not tried, as they do not work without a fault either: {', '.join(left)}."
           if left else ""),
        _END,
    ])  # fmt: skip


def main(source: Path, page: Path) -> None:
    old = page.read_text()
    before, begin, rest = old.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin and end, f"{page} has no place for the table"
    page.write_text(before + text(json.loads(source.read_text())) + after)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
