"""The results of a run, and their JSON: all that the table, the plots and the page show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

FORMAT = 1


@dataclass(frozen=True)
class Measure:
    """What one figure of a row is: its name, its unit, and which is better."""

    name: str
    unit: str
    better: Literal["more", "less"] = "less"


@dataclass
class RowResult:
    """The samples of one row: measure -> subject's key -> samples in the order taken.

    `failed`: subject's key -> why it has no samples; `missing`: why nobody has any.
    `others` is the part of the machine's CPU time, 0 to 1, that was not used by the benchmark and
    not idle meanwhile; None in results that do not say.
    """

    name: str
    title: str
    script: str
    method: str
    measures: list[Measure]
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    missing: str = ""
    seconds: float = 0.0
    others: float | None = None

    def add(self, measure: str, who: str, value: float) -> None:
        """Keep one sample. KeyError for a measure that the row does not have."""
        if measure not in {known.name for known in self.measures}:
            raise KeyError(measure)
        kept = float(f"{value:.6g}")
        self.samples.setdefault(measure, {}).setdefault(who, []).append(kept)

    def of(self, measure: str, who: str) -> list[float]:
        """The samples of one measure and subject; empty if there are none."""
        return self.samples.get(measure, {}).get(who, [])


@dataclass
class Results:
    """One run: machine and versions (texts, as they are shown), subjects, rows.

    `busy_rows` are some of the rows once more, beside so many processes that do nothing but run.
    """

    taken: str
    quick: bool
    machine: dict[str, str]
    subjects: list[dict[str, str]]
    rows: list[RowResult] = field(default_factory=list)
    busy: int = 0
    busy_rows: list[RowResult] = field(default_factory=list)

    def beside_load(self) -> Results:
        """The same with the rows that were run beside busy processes."""
        return replace(self, rows=self.busy_rows)

    def row(self, name: str) -> RowResult | None:
        """The row of this name, if it was run."""
        return next((row for row in self.rows if row.name == name), None)

    def label(self, who: str) -> str:
        """How a subject is called; the limits that no conmon is call themselves."""
        return next((subject["label"] for subject in self.subjects if subject["key"] == who), who)

    def write(self, path: Path) -> None:
        """Write the JSON, by rename: a run that is cut off leaves the last one whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(_dump({"format": FORMAT, **asdict(self)}) + "\n")
        new.replace(path)


def _dump(value: Any, indent: str = "") -> str:
    """JSON with a line for each key, and lists of numbers on one line."""
    if isinstance(value, dict) and value:
        inner = indent + " "
        lines = [f"{inner}{json.dumps(k)}: {_dump(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        inner = indent + " "
        return "[\n" + ",\n".join(inner + _dump(v, inner) for v in value) + f"\n{indent}]"
    return json.dumps(value)


def read(path: Path) -> Results:
    """Read what `Results.write` wrote. ValueError for another format."""
    data = json.loads(path.read_text())
    if data.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is not of format {FORMAT}")
    rows = {name: [_row(row) for row in data.get(name, [])] for name in ("rows", "busy_rows")}
    return Results(**{**data, **rows})


def _row(data: Mapping[str, object]) -> RowResult:
    row = RowResult(**data)  # type: ignore[arg-type]
    row.measures = [Measure(**measure) for measure in row.measures]  # type: ignore[arg-type]
    return row
