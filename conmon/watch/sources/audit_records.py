"""Audit records: reading one, and putting the records of an event together. No I/O.

A record is `audit(SECONDS.MILLIS:SERIAL): key=value ...`. An event is the records of one time and
serial; they come one by one, may be interleaved with those of other events, and the last is EOE.
Strings are quoted, or in hexadecimal where they hold anything unusual; long arguments of execve
are split into `a1[0]=`, `a1[1]=`, ... and over several records.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from conmon.watch.tree.procfs import MAX_ARGV

SYSCALL, EXECVE, EOE = 1300, 1309, 1320
#: How long an event is waited for whose last record got lost, in ns.
MAX_AGE = 2_000_000_000
_MAX_RECORDS = 64  # of one event that are kept

_HEAD = re.compile(rb"audit\((\d+)\.(\d+):(\d+)\): ?")
_CALL = re.compile(
    rb"arch=([0-9a-f]+) syscall=(\d+)(?: per=[0-9a-f]+)?"
    rb"(?: success=(\w+) exit=(-?\d+))? a0=([0-9a-f]+) .*? ppid=(\d+) pid=(\d+) "
)
_ARGUMENT = re.compile(rb' a(\d+)(?:\[(\d+)\])?=(?:"([^"]*)"|([0-9A-Fa-f]+))')


class Head(NamedTuple):
    """What tells events apart. `ms`: CLOCK_REALTIME in milliseconds."""

    ms: int
    serial: int


class Call(NamedTuple):
    """A SYSCALL record. `result` is None for a call that never returns (exit_group)."""

    arch: int
    number: int
    success: bool
    result: int | None
    a0: int
    ppid: int
    pid: int


@dataclass(slots=True)
class AuditEvent:
    """The records of an event, as (type, text behind the head)."""

    head: Head
    since: int
    records: list[tuple[int, bytes]] = field(default_factory=list)

    def call(self) -> Call | None:
        """The system call, if its record has come and can be read."""
        for kind, text in self.records:
            if kind == SYSCALL and (found := _CALL.match(text)):
                arch, number, success, result, a0, ppid, pid = found.groups()
                return Call(
                    int(arch, 16),
                    int(number),
                    success in (b"yes", None),
                    None if result is None else int(result),
                    int(a0, 16),
                    int(ppid),
                    int(pid),
                )
        return None

    def argv(self) -> tuple[str, ...] | None:
        """The arguments of execve, the first MAX_ARGV bytes; None without its record."""
        words: dict[int, bytes] = {}
        size = 0
        for kind, text in self.records:
            if kind != EXECVE:
                continue
            for number, _, quoted, coded in _ARGUMENT.findall(b" " + text):
                part = quoted if quoted or not coded else _unhex(coded)
                size += len(part) + 1
                if size > MAX_ARGV:
                    break
                words[int(number)] = words.get(int(number), b"") + part
        if not words:
            return None
        return tuple(words[n].decode(errors="backslashreplace") for n in sorted(words))


def _unhex(text: bytes) -> bytes:
    return bytes.fromhex(text.decode()) if len(text) % 2 == 0 else text


def split_head(text: bytes) -> tuple[Head, bytes] | None:
    """Time and serial of a record, and the rest; None for what is no record."""
    found = _HEAD.match(text)
    if found is None:
        return None
    seconds, millis, serial = map(int, found.groups())
    return Head(seconds * 1000 + millis, serial), text[found.end() :]


class Reassembler:
    """Puts events together from records in any order."""

    def __init__(self, limit: int) -> None:
        self.incomplete = 0  # events whose end never came
        self.damaged = 0  # events of which only the end came
        self._limit = limit
        self._open: dict[Head, AuditEvent] = {}

    def __len__(self) -> int:
        return len(self._open)

    def feed(self, kind: int, head: Head, text: bytes, now: int) -> AuditEvent | None:
        """Take a record at `now` (ns); the event that is complete with it, or must go for it."""
        if kind == EOE:
            event = self._open.pop(head, None)
            if event is None or not any(kind == SYSCALL for kind, _ in event.records):
                self.damaged += 1
                return None
            return event
        event = self._open.get(head)
        if event is not None:
            if len(event.records) < _MAX_RECORDS:
                event.records.append((kind, text))
            return None
        self._open[head] = AuditEvent(head, now, [(kind, text)])
        if len(self._open) <= self._limit:
            return None
        self.incomplete += 1
        return self._open.pop(next(iter(self._open)))

    def expire(self, now: int) -> list[AuditEvent]:
        """Events that are older than MAX_AGE: all that will come of them has come."""
        old = []
        for head, event in self._open.items():
            if event.since + MAX_AGE > now:
                break
            old.append(head)
        self.incomplete += len(old)
        return [self._open.pop(head) for head in old]


class Serials:
    """Counts events that never came. Serials have no gaps, but come in any order."""

    def __init__(self, limit: int = 1024) -> None:
        self.lost = 0
        self._limit = limit
        self._next: int | None = None
        self._holes: dict[int, tuple[int, int]] = {}  # first missing -> behind the last, deadline

    def take(self, serial: int, now: int) -> None:
        """A record of this event came at `now` (ns)."""
        following = self._next
        if following is None or serial == following:
            self._next = serial + 1
        elif serial > following:
            self._holes[following] = (serial, now + MAX_AGE)
            self._next = serial + 1
            if len(self._holes) > self._limit:
                self._give_up(next(iter(self._holes)))
        else:
            self._fill(serial)

    def _fill(self, serial: int) -> None:
        for first, (behind, deadline) in self._holes.items():
            if first <= serial < behind:
                del self._holes[first]
                if first < serial:
                    self._holes[first] = (serial, deadline)
                if serial + 1 < behind:
                    self._holes[serial + 1] = (behind, deadline)
                return
        # Else it is another record of an event that is known.

    def _give_up(self, first: int) -> None:
        behind, _ = self._holes.pop(first)
        self.lost += behind - first

    def expire(self, now: int) -> None:
        """What is missing for longer than MAX_AGE is lost."""
        for first in [f for f, (_, deadline) in self._holes.items() if deadline <= now]:
            self._give_up(first)
