"""conmonctl stats: the counters of monitors."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from conmon.ctl import options, show, text
from conmon.ctl.errors import CtlError, NotPermitted
from conmon.ctl.monitors import Monitor
from conmon.host import procfs

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = (
    show.Column("CONTAINER", style="dim", rank=5),
    show.Column("NAME", style="bold"),
    show.Column("UP", right=True, rank=4),
    show.Column("BYTES", right=True),
    show.Column("BYTES/S", right=True, rank=1),
    show.Column("RECORDS", right=True),
    show.Column("RECORDS/S", right=True, rank=6),
    show.Column("DROPS", right=True, alert=True),
    show.Column("CLIENTS", right=True, rank=7),
    show.Column("STALLS", right=True, rank=8),
    show.Column("WAKE-UPS", right=True, rank=2),
)

# What the counters of docs/counters.md are, in words.
MEANING = {
    "wake_ups": "rounds of the event loop",
    "bytes_in": "bytes from the container",
    "records": "log records",
    "bytes_logged": "bytes written to the log",
    "bytes_dropped": "bytes that are not in the log",
    "records_dropped": "records that are not in the log",
    "truncations": "times the log began anew",
    "rotations": "rotations of the log",
    "rotation_failures": "rotations that failed",
    "reopens": "reopened on request",
    "stalls": "pauses for a slow client",
    "clients": "clients so far",
    "clients_now": "clients attached now",
    "clients_dropped": "clients disconnected by the monitor",
    "entries": "journal entries",
    "entries_dropped": "journal entries not taken",
    "entry_bytes_dropped": "bytes in those",
    "journal_stalls": "pauses for the journal",
    "log_stalls": "pauses for the log",
    "sandbox": "what was given up, as bits",
    "unreported": "messages of conmon's own that reached nobody",
}
# Of these a lower number is not the sign of a loss.
_LEVELS = ("clients_now", "sandbox")

EXAMPLES = """
\b
Examples:
  conmonctl stats                        one line for each monitor
  conmonctl stats web                    all counters of one
  conmonctl stats -f -i 5                every 5 seconds, with rates
  conmonctl stats --json | jq .counters.bytes_dropped
"""


@dataclass(frozen=True)
class Sample:
    """The counters of one monitor at a moment (`at`: seconds, monotonic)."""

    monitor: Monitor
    at: float
    counters: dict[str, int]

    def rate(self, before: Sample | None, name: str) -> float | None:
        """Growth of a counter per second."""
        if before is None or self.at <= before.at or name in _LEVELS:
            return None
        return (self.counters.get(name, 0) - before.counters.get(name, 0)) / (self.at - before.at)


Samples = dict[int, Sample]


def take(chosen: Sequence[Monitor]) -> tuple[Samples, int]:
    """The counters of those that have some, by pid; and how many there are that refuse."""
    samples: Samples = {}
    refused = 0
    for monitor in chosen:
        try:
            counters = monitor.counters()
        except PermissionError:
            refused += 1
        except OSError:
            continue  # it has ended
        else:
            if counters is not None and monitor.alive():
                samples[monitor.pid] = Sample(monitor, time.monotonic(), counters)
    return samples, refused


def _table_row(sample: Sample, before: Sample | None) -> list[str]:
    counters, m = sample.counters, sample.monitor
    bytes_rate, record_rate = sample.rate(before, "bytes_in"), sample.rate(before, "records")
    dropped = counters.get("bytes_dropped", 0) + counters.get("entry_bytes_dropped", 0)
    return [
        m.id[:12],
        m.label,
        text.duration(procfs.uptime(m.stat.start)),
        text.size(counters.get("bytes_in")),
        "-" if bytes_rate is None else text.size(round(bytes_rate)),
        text.count(counters.get("records", 0) + counters.get("entries", 0)),
        "-" if record_rate is None else text.count(round(record_rate)),
        text.size(dropped),
        text.count(counters.get("clients_now")),
        text.count(counters.get("stalls")),
        text.count(counters.get("wake_ups")),
    ]


def table(samples: Samples, before: Samples) -> tuple[Sequence[show.Column], list[list[str]]]:
    """One row for each monitor. Without anything to compare with there are no rates."""
    rows = [_table_row(sample, before.get(pid)) for pid, sample in samples.items()]
    if before:
        return COLUMNS, rows
    kept = [i for i, column in enumerate(COLUMNS) if not column.title.endswith("/S")]
    return [COLUMNS[i] for i in kept], [[row[i] for i in kept] for row in rows]


def details(sample: Sample, before: Sample | None) -> tuple[Sequence[show.Column], list[list[str]]]:
    """All counters of one monitor, one in a row."""
    columns = [show.Column("COUNTER"), show.Column("VALUE", right=True)]
    if before is not None:
        columns.append(show.Column("PER SECOND", right=True))
    columns.append(show.Column("WHAT", style="dim", rank=1))
    rows = []
    for name, value in sample.counters.items():
        row = [name, text.count(value)]
        if before is not None:
            rate = sample.rate(before, name)
            row.append("-" if rate is None else f"{rate:,.1f}")
        rows.append([*row, MEANING.get(name, "")])
    return columns, rows


def _json(samples: Samples, now: float) -> None:
    for sample in samples.values():
        m = sample.monitor
        show.json_line(
            {
                "time": text.timestamp(now),
                "id": m.id,
                "name": m.name or None,
                "session": m.session,
                "monitor_pid": m.pid,
                "counters": sample.counters,
            }
        )


class _View:
    """How samples are shown: in place on a terminal, one below the other in a pipe."""

    def __init__(self, one: bool) -> None:
        self._one = one
        self._before: Samples = {}
        self._headed = False

    def _content(self, samples: Samples) -> tuple[Sequence[show.Column], list[list[str]]]:
        if self._one and len(samples) == 1:
            (pid,) = samples
            return details(samples[pid], self._before.get(pid))
        return table(samples, self._before)

    def render(self, samples: Samples) -> RenderableType:
        """For a terminal that is written anew each time."""
        shown = show.fitted(*self._content(samples))
        self._before = samples
        return shown

    def once(self, samples: Samples) -> None:
        """Print it one time."""
        show.table(*self._content(samples))

    def append(self, samples: Samples, now: float) -> None:
        """For a pipe: each row with the time, the heading once."""
        before, self._before = self._before, samples
        rows = []
        for pid, sample in samples.items():
            rows.append([text.timestamp(now), *_table_row(sample, before.get(pid))])
        lines = show.plain([show.Column("TIME"), *COLUMNS], rows)
        for line in lines[self._headed :]:
            click.echo(line)
        self._headed = True


def _samples(words: Sequence[str], interval: float, times: int | None) -> Iterator[Samples]:
    """Samples again and again, so many times; until those that were named have all ended."""
    chosen = options.chosen(words)
    for number in itertools.count(1):
        if not words and number > 1:
            chosen = options.chosen(())
        samples, _ = take(chosen)
        if words and not samples:
            return
        yield samples
        if number == times:
            return
        time.sleep(interval)


@click.command("stats", epilog=EXAMPLES, short_help="Counters of monitors.")
@options.CONTAINERS
@click.option("-f", "--follow", is_flag=True, help="Again and again, with rates, until ctrl-c.")
@click.option(
    "-i", "--interval", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Seconds."
)
@click.option("-c", "--count", "times", type=click.IntRange(1), help="Follow so many times.")
@options.json_option("monitor and time")
def command(
    containers: tuple[str, ...], follow: bool, interval: float, times: int | None, as_json: bool
) -> None:
    """Show the counters of monitors; a C conmon has none.

    A monitor is not disturbed by it. With one container all of its counters are shown.
    """
    samples, refused = take(options.chosen(containers))
    if containers and not samples:
        names = ", ".join(containers)
        if refused:
            raise NotPermitted(f"the counters of {names} need its user, or CAP_SYS_PTRACE")
        raise CtlError(
            f"no counters: the monitor of {names} is a C conmon, or its container has ended"
        )
    if refused:
        show.note(f"{refused} monitors of other users are left out: that needs CAP_SYS_PTRACE")
    view = _View(len(containers) == 1)
    if not follow and times is None:
        if as_json:
            _json(samples, time.time())
        else:
            view.once(samples)
        return
    stream = _samples(containers, interval, times)
    if not as_json and show.is_terminal():
        from rich.live import Live

        with Live(console=show.console(), auto_refresh=False) as live:
            for samples in stream:
                live.update(view.render(samples), refresh=True)
        return
    for samples in stream:
        if as_json:
            _json(samples, time.time())
        else:
            view.append(samples, time.time())
