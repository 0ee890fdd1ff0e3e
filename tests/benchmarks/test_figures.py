"""From samples to the table and the page: docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import PROJECT, page, readme, table, words
from bench.goals import GOALS, Goal, verdict
from bench.results import Measure, Results, RowResult, read
from bench.rows import ROWS
from bench.stats import median, percentile, quartiles, show

SPEED = Measure("MB/s", "MB/s", "more")
TIME = Measure("time", "ms")


def results(ours: list[float], peer: list[float], measure: Measure = TIME) -> Results:
    """A run of one row."""
    row = RowResult("version", "A row", "bench/rows/version.py", "How.", [measure])
    row.samples = {measure.name: {"ours": ours, "peer": peer}}
    labels = {"ours": "this conmon", "peer": "C conmon"}
    subjects = [
        {"key": key, "label": label, "program": "conmon", "bytes": "1", "sha256": "0" * 64}
        for key, label in labels.items()
    ]
    return Results(
        "today", False, {"kernel": "6.1", "system": "some", "processor": "any"}, subjects, [row]
    )


@pytest.mark.parametrize(("part", "expected"), [(0, 1), (0.25, 2), (0.5, 3), (0.99, 4.96), (1, 5)])
def test_percentile(part: float, expected: float) -> None:
    """Benchmarks: percentiles are interpolated between the samples, whatever their order."""
    assert percentile([5, 3, 1, 2, 4], part) == pytest.approx(expected)


def test_median_and_quartiles_of_few() -> None:
    """Benchmarks: one sample is its own median and spread; none is an error, not a zero."""
    assert (median([7]), quartiles([7])) == (7, (7, 7))
    assert median([1, 2]) == 1.5
    with pytest.raises(ValueError, match="no samples"):
        median([])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (1.005, "1.00"), (76, "76.0"), (328.4, "328"),
     (1234.5, "1,234"), (-2.5, "-2.50")],
)  # fmt: skip
def test_digits_that_count(value: float, text: str) -> None:
    """Benchmarks: a figure has three digits that count."""
    assert show(value) == text


@pytest.mark.parametrize(
    ("goal", "value", "met", "words_"),
    [
        (Goal("version", "time", 0.6), 0.5, True, "met"),
        (Goal("version", "time", 0.4), 0.5, False, "missed by 25 %"),
        (Goal("version", "time", 0.1), 0.5, False, "missed by a factor of 5.00"),
        (Goal("version", "time", 2, least=True), 0.5, False, "missed by 75 %"),
        (Goal("version", "time", -1, kind="difference"), -2, True, "met"),
        (Goal("version", "time", -3, kind="difference"), -2, False, "missed by 1.00 ms"),
        (Goal("version", "time", 0, kind="value"), 2, False, "missed by 2.00 ms"),
    ],
)
def test_goal(goal: Goal, value: float, met: bool, words_: str) -> None:
    """Benchmarks: a goal is met or missed by the medians, and by how much."""
    run = results([1, 2, 9], [4, 4, 4])
    found = verdict(run, goal)
    assert found is not None
    assert (found.value, found.met) == (value, met)
    assert words.outcome_text(run, found) == words_


def test_goal_that_cannot_be_judged() -> None:
    """Benchmarks: what was not measured is neither met nor missed."""
    run = results([], [4])
    assert verdict(run, Goal("version", "time", 1)) is None
    assert verdict(run, Goal("podman", "podman exec", 1)) is None
    run.rows[0].samples["time"]["ours"] = [1]
    run.rows[0].missing = "failed in the middle"
    assert verdict(run, Goal("version", "time", 1)) is None


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.name)
def test_goals_are_about_rows_that_there_are(goal: Goal) -> None:
    """Benchmarks: no goal is left out silently because its row has another name."""
    row = next(row for row in ROWS if row.name == goal.row)
    names = [measure.name for measure in row.measures]
    assert goal.measure in names
    _, _, own = goal.beside.partition(":")
    assert not own or own in names


def test_rows_have_names_of_their_own() -> None:
    """Benchmarks: no row takes another's place, and each names a script that there is."""
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))
    assert [row.script for row in ROWS if not (PROJECT / row.script).is_file()] == []


def test_results_survive_the_file(tmp_path: Path) -> None:
    """Benchmarks: the page is made from the very samples that were taken."""
    run = results([1.5, 2], [4])
    path = tmp_path / "deep" / "results.json"
    run.write(path)
    assert read(path) == run
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]
    path.write_text('{"format": 0}')
    with pytest.raises(ValueError, match="format"):
        read(path)


def test_unknown_measure() -> None:
    """Benchmarks: a sample of a measure that the row does not have is an error."""
    with pytest.raises(KeyError):
        results([1], [1]).rows[0].add("speed", "ours", 1)


def test_page_says_where_the_peer_wins() -> None:
    """Benchmarks: a figure that is worse than C conmon's is listed, in either direction."""
    worse = page.text(results([5], [4]), [], "benchmarks").split("## Where C conmon wins")[1]
    assert "time: 5.00 ms of ours against 4.00, 1.25×" in worse.split("## Beside")[0]
    slower = page.text(results([3], [4], SPEED), [], "benchmarks").split("conmon wins\n")[1]
    assert "MB/s: 3.00 MB/s of ours against 4.00, 0.750×" in slower.split("## Beside")[0]
    better = page.text(results([3], [4]), [], "benchmarks").split("## Where C conmon wins")[1]
    assert better.split("## Beside")[0].strip() == "In none of the figures of this run."


def test_page_shows_other_systems() -> None:
    """Benchmarks: a run beside another C conmon has a column of its own, as far as it went."""
    other = results([6], [3])
    other.machine["system"] = "another"
    text = page.text(results([5], [4]), [], "benchmarks", [other])
    part = text.split("## Beside other C conmons")[1].split("## Figures")[0]
    assert "another |" in part and "| 1.25× | 2.00× |" in part


def test_page_shows_all_goals() -> None:
    """Benchmarks: each goal has its line, and those not measured say so."""
    text = page.text(results([5], [4]), [], "benchmarks")
    goals = text.split("## Goals")[1].split("## Where")[0]
    lines = [line for line in goals.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == len(GOALS)
    assert sum("not measured" in line for line in lines) == len(GOALS) - 1
    assert "**missed by a factor of 2.08**" in goals


def test_page_shows_a_busy_machine() -> None:
    """Benchmarks: what was measured beside a load stands beside the quiet figure, goals with it."""
    run = results([5], [10])
    run.busy, run.busy_rows = 6, results([30], [40]).rows
    text = page.text(run, [], "benchmarks")
    part = text.split("## On a busy machine")[1].split("## Figures")[0]
    assert "6 processes that do nothing but run" in part
    assert "| 5.00, 0.500× | 10.0 | 30.0, 0.750× | 40.0 |" in part
    assert "0.750× | **missed by 25 %** |" in part
    assert "Not measured" in page.text(results([5], [4]), [], "benchmarks").split("busy machine")[1]


def test_page_shows_what_failed() -> None:
    """Benchmarks: a row that could not be measured is on the page, with the reason."""
    run = results([], [])
    run.rows[0].missing = "podman is not installed"
    assert "Not measured: podman is not installed." in page.text(run, [], "benchmarks")
    assert "podman is not installed" in table.row_text(run, run.rows[0])


def test_published_page_is_current() -> None:
    """docs/benchmarks.md and README.md show bench/results.json: `make bench-page` changes nothing.

    So no figure in them was written by hand, and each plot that is shown is there.
    """
    path = PROJECT / "bench" / "results.json"
    published, others = read(path), page.elsewhere(path)
    docs = PROJECT / "docs"
    found = page.text(published, page.PLOTS, "benchmarks", others)
    assert (docs / "benchmarks.md").read_text() == found
    read_me = (PROJECT / "README.md").read_text()
    assert read_me == readme.replaced(read_me, published)
    files = {path.name for path in (docs / "benchmarks").iterdir()}
    assert files == {f"{name}.{suffix}" for name in page.PLOTS for suffix in ("svg", "png")}


def test_read_me_without_its_comments() -> None:
    """make bench-page: where the table's place in README.md is missing, nothing is written."""
    with pytest.raises(ValueError, match="comments"):
        readme.replaced("# conmon\n", results([1], [2]))
