"""conmonctl logs: what a container has written."""

from __future__ import annotations

import base64
import collections
import contextlib
import datetime as dt
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import click

from conmon.ctl import access, options, records, show, since, tail
from conmon.ctl.errors import CtlError
from conmon.ctl.follow import follow
from conmon.ctl.logfile import Log
from conmon.ctl.monitors import Monitor

EXAMPLES = """
\b
Examples:
  conmonctl logs web                         what is in the log
  conmonctl logs -f --tail 20 web            the last 20 lines, and what comes
  conmonctl logs --since 10m --stream stderr web
  conmonctl logs -t --rotated web            rotated files too, with times
  conmonctl logs --file /var/log/ctr.log     of a container that has ended
"""


@dataclass(frozen=True)
class Wanted:
    """What of a log is printed, and how. `last`: so many lines of what is there; None is all."""

    streams: tuple[bytes, ...]
    since: dt.datetime | None
    last: int | None
    times: bool
    as_json: bool

    def includes(self, line: records.Line) -> bool:
        """Whether a line was asked for."""
        if line.stream not in self.streams:
            return False
        try:
            return self.since is None or records.moment(line.time) >= self.since
        except ValueError:
            return True


class Printer:
    """Writes lines: stdout's to stdout, stderr's to stderr, in their order."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._targets = {b"stdout": sys.stdout.buffer, b"stderr": sys.stderr.buffer}
        self._target: IO[bytes] = sys.stdout.buffer
        self._text: list[bytes] = []

    def put(self, line: records.Line) -> None:
        """Write one line, or a piece of one."""
        if self._wanted.as_json:
            self._text.append(_json(line))
            return
        target = self._targets[line.stream]
        if target is not self._target:
            self.flush()
            self._target = target
        if self._wanted.times and line.begins:
            self._text += (line.time, b" ")
        self._text.append(line.data)
        if line.ends:
            self._text.append(b"\n")

    def flush(self) -> None:
        """Hand all over to the reader."""
        self._target.write(b"".join(self._text))
        self._target.flush()
        self._text.clear()


def _json(line: records.Line) -> bytes:
    fields: dict[str, object] = {
        "v": show.VERSION,
        "time": line.time.decode("ascii", "replace"),
        "stream": line.stream.decode(),
    }
    try:
        fields["text"] = line.data.decode()
    except UnicodeDecodeError:
        fields["base64"] = base64.b64encode(line.data).decode()
    if not line.ends:
        fields["partial"] = True
    return json.dumps(fields).encode() + b"\n"


def print_lines(batches: Iterator[list[bytes]], wanted: Wanted) -> int:
    """Join and print records; how many lines of the log were no records."""
    joiner = records.Joiner()
    printer = Printer(wanted)
    held: collections.deque[records.Line] | None = None
    lines = strange = 0
    if wanted.last is not None:
        held = collections.deque()

    def take(line: records.Line) -> None:
        nonlocal lines
        if not wanted.includes(line):
            return
        if held is None:
            printer.put(line)
            return
        held.append(line)
        lines += line.begins
        while wanted.last is not None and lines > wanted.last:
            lines -= held.popleft().begins

    for batch in batches:
        for text in batch:
            record = records.parse(text)
            if record is None:
                strange += 1
            elif line := joiner.feed(record):
                take(line)
        if not batch:
            # A prompt has no newline, and is to be seen all the same.
            if not wanted.as_json:
                for line in joiner.flush():
                    take(line)
            for line in held or ():
                printer.put(line)
            held = None
        printer.flush()
    for line in joiner.flush():
        take(line)
    printer.flush()
    return strange


def _once(log: Log, rotated: bool) -> Iterator[list[bytes]]:
    """All that there is now."""
    if rotated:
        for file in log.backups():
            yield from file.read()
            file.close()
    yield from log.file.read()
    yield []


def _following(log: Log, monitor: Monitor | None, rotated: bool) -> Iterator[list[bytes]]:
    if rotated:
        for file in log.backups():
            yield from file.read()
            file.close()
    yield from follow(log, monitor)


def _open(monitor: Monitor) -> Log:
    """The log of a container. CtlError where it has none that can be read here."""
    path = monitor.log_plan.path
    if path is None:
        drivers = monitor.log_drivers
        hint = f"journalctl CONTAINER_ID_FULL={monitor.id}" if "journald" in drivers else ""
        raise CtlError(f"{monitor.label} logs to {', '.join(drivers)}, not to a file", hint)
    with access.explained(monitor, "read the log of"):
        return Log(monitor.reach(path))


@click.command("logs", epilog=EXAMPLES, short_help="The k8s-file log of a container.")
@click.argument("container", type=options.MonitorName(), required=False)
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the container ends.")
@click.option("-n", "--tail", "last", type=click.IntRange(0), help="Begin with the last N lines.")
@click.option("--since", "start", type=since.Moment(), help="From a time on, or 10m ago.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only this one.")
@click.option("-t", "--timestamps", is_flag=True, help="The time before each line.")
@click.option("--rotated", is_flag=True, help="Begin with the rotated files.")
@click.option("--file", "path", type=click.Path(), help="This log, instead of a container's.")
@options.json_option("line")
def command(
    container: str | None,
    following: bool,
    last: int | None,
    start: dt.datetime | None,
    stream: str | None,
    timestamps: bool,
    rotated: bool,
    path: str | None,
    as_json: bool,
) -> None:
    """Print the k8s-file log of a container; partial records are joined to lines.

    What the container wrote to stderr goes to stderr. With --follow nothing is missed when the
    log is rotated, replaced or truncated meanwhile.
    """
    if (container is None) == (path is None):
        raise click.UsageError("give a container, or --file PATH")
    monitor = options.monitor(container) if container is not None else None
    if monitor is not None:
        log = _open(monitor)
    else:
        try:
            log = Log(str(path))
        except OSError as error:
            raise CtlError(f"cannot read {path}: {error.strerror}") from error
    wanted = Wanted(
        streams=(stream.encode(),) if stream else records.STREAMS,
        since=start,
        last=last,
        times=timestamps,
        as_json=as_json,
    )
    with contextlib.closing(log):
        if last is not None and not rotated:
            log.file.seek(tail.start_of_last(log.file, last, wanted.streams))
        batches = _following(log, monitor, rotated) if following else _once(log, rotated)
        strange = print_lines(batches, wanted)
    if strange:
        show.note(f"{strange} lines of the log are no records, and were left out")
