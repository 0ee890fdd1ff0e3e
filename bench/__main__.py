"""python -m bench [--quick] [--only WORD,...] CONMON PEER...: measure, print, write JSON."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from subprocess import SubprocessError

from harness_os import end_descendants

from bench import kernel, load, machine, table
from bench.bench import Bench, CannotMeasureError, Row
from bench.container import BenchError
from bench.progress import Progress
from bench.results import RowResult
from bench.rows import ROWS
from bench.subjects import Subject, look_at

FAILED = "failed: "


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("conmon", type=Path, help="the conmon that this is about")
    parser.add_argument("peers", type=Path, nargs="+", help="others; the goals name the first")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller samples: 2 min")
    parser.add_argument("--only", help="rows to run: parts of their names, separated by commas")
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N",
        help="run the main rows once more, beside N processes that do nothing but run",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="file to write the results to")
    parser.add_argument("--disk", default="/var/tmp", help="a place on a disk (%(default)s)")
    parser.add_argument("--ram", default="/dev/shm", help="a place in memory (%(default)s)")
    parser.add_argument("--list", action="store_true", help="list the rows, and run nothing")
    return parser.parse_args(words)


def chosen(only: str | None, quick: bool) -> list[Row]:
    """The rows to run, each by its name or a part of it. ValueError if a word is in no name."""
    rows = [row for row in ROWS if row.quick or not quick]
    if not only:
        return rows
    found = []
    for word in only.split(","):
        hits = [row for row in rows if row.name == word] or [r for r in rows if word in r.name]
        if not hits:
            raise ValueError(f"no row of this run has {word} in its name")
        found += hits
    return [row for row in rows if row in found]


def run(bench: Bench, row: Row, load: frozenset[int] = frozenset()) -> bool:
    """Run one row, and again without a subject that failed. False if ours is not measured.

    What could not be done is in its result. `load` are pids to be left alone.
    """
    bench.progress.row(row.title)
    failed: dict[str, str] = {}
    while (who := attempt(bench, row, failed, load)) and len(bench.subjects) > 1:
        failed[who] = bench.result.missing
    return not bench.result.failed.get("ours") and not bench.result.missing.startswith(FAILED)


def attempt(bench: Bench, row: Row, failed: Mapping[str, str], load: frozenset[int]) -> str:
    """Run one row without those that have failed; whose turn it was if another one fails, or ""."""
    result = bench.begin(row, failed)
    begin, others = time.monotonic(), kernel.others_cpu_s()
    whose = ""
    try:
        row.measure(bench)
    except CannotMeasureError as reason:
        result.missing = str(reason)
    except (BenchError, AssertionError, OSError, ValueError, SubprocessError) as error:
        whose = bench.whose
        result.missing = FAILED + " ".join(str(error).split())
    finally:
        end_descendants(load)
    seconds = time.monotonic() - begin
    part = (kernel.others_cpu_s() - others) / (seconds * (os.cpu_count() or 1))
    result.others = min(1.0, max(0.0, round(part, 2)))
    result.seconds = round(seconds, 1)
    return whose


def main() -> int:
    # A shell starts background jobs with these ignored, which conmon and containers would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = arguments(sys.argv[1:])
    try:
        rows = chosen(given.only, given.quick)
        subjects = look_at([given.conmon, *given.peers])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if given.list:
        print("\n".join(f"{row.name:20} {row.title} ({row.script})" for row in rows))
        return 0
    try:
        return measure(given, rows, subjects)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def measure(given: argparse.Namespace, rows: list[Row], subjects: list[Subject]) -> int:
    kernel.become_subreaper()
    if os.geteuid() == 0:
        kernel.leave_mounts()
    machine.sync_programs(subjects)
    results = machine.describe(subjects, given.quick)
    results.busy = given.busy
    again = [row for row in rows if row.main and given.busy]
    progress = Progress(len(rows) + len(again))
    begin = time.monotonic()
    good = True
    with (
        tempfile.TemporaryDirectory(prefix="conmon-bench-", dir=given.ram) as ram,
        tempfile.TemporaryDirectory(prefix="conmon-bench-", dir=given.disk) as disk,
    ):
        bench = Bench(subjects, Path(ram), Path(disk), given.quick, progress)

        def take(row: Row, into: list[RowResult], load: frozenset[int] = frozenset()) -> bool:
            good = run(bench, row, load)
            into.append(bench.result)
            progress.clear()
            print(table.row_text(results, bench.result), flush=True)
            if given.json:
                results.write(given.json)
            return good

        for row in rows:
            good = take(row, results.rows) and good
        if again:
            print(f"Beside {given.busy} busy processes")
        with load.busy(given.busy if again else 0) as pids:
            for row in again:
                good = take(row, results.busy_rows, pids) and good
    print(table.goals_text(results))
    if again:
        print(f"Beside {given.busy} busy processes")
        print(table.goals_text(results.beside_load()))
    print(f"{time.monotonic() - begin:.0f} s in all")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
