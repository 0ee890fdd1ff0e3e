"""What a ProcessTree tells: one dataclass per event, and what a snapshot holds.

Each event has `to_dict()` and `to_json()`: one JSON object on one line, schema version in "v".
Times are CLOCK_MONOTONIC in ns (`mono_ns`); the JSON has the wall clock beside it. Events are not
frozen: that would make each cost 4 µs instead of 0.6.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

SCHEMA_VERSION = 1


def wall_time(mono_ns: int) -> str:
    """The wall clock (RFC 3339, UTC, microseconds) at a moment of CLOCK_MONOTONIC."""
    offset = time.time_ns() - time.monotonic_ns()
    moment = dt.datetime.fromtimestamp((mono_ns + offset) / 1e9, dt.UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class _Event:
    """What all events have in common."""

    __slots__ = ()
    type: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON has it: "v", "type", the fields, "time"."""
        fields: dict[str, Any] = {"v": SCHEMA_VERSION, "type": self.type}
        for name in self.__dataclass_fields__:  # type: ignore[attr-defined]
            fields[name] = getattr(self, name)
        fields["time"] = wall_time(fields["mono_ns"])
        return fields

    def to_json(self) -> str:
        """The event as one line of JSON, without the newline."""
        return json.dumps(self.to_dict(), separators=(",", ":"))


@dataclass(slots=True)
class ForkEvent(_Event):
    """A process of a container came to be.

    `synthetic`: no event of the kernel says so, but /proc does (initial replay, after a loss, a
    container that became known late). Only these have `argv`, `nspid` and `start`; what comes
    from the kernel's event has the argv of its parent until it executes something.
    """

    type: ClassVar[str] = "fork"
    container: str
    pid: int
    ppid: int
    mono_ns: int
    nspid: int | None = None
    start: int | None = None  # clock ticks since boot, as field 22 of /proc/PID/stat
    argv: tuple[str, ...] | None = None
    synthetic: bool = False


@dataclass(slots=True)
class ExecEvent(_Event):
    """A process of a container executed a program.

    `argv`, `nspid` and `start` are read from /proc and None where the process was gone by then.
    """

    type: ClassVar[str] = "exec"
    container: str
    pid: int
    ppid: int
    mono_ns: int
    nspid: int | None = None
    start: int | None = None
    argv: tuple[str, ...] | None = None
    synthetic: bool = False


@dataclass(slots=True)
class ExitEvent(_Event):
    """A process of a container ended, with its last thread.

    `code` for exit(2), `signal` (a number) for a death by signal; both None when only /proc says
    that it is gone.
    """

    type: ClassVar[str] = "exit"
    container: str
    pid: int
    ppid: int
    mono_ns: int
    code: int | None = None
    signal: int | None = None
    duration_ns: int | None = None
    synthetic: bool = False


@dataclass(slots=True)
class LostEvent(_Event):
    """Events were lost between the kernel and us.

    `count` is their number, of the whole host and of all kinds; None where the source cannot say
    it yet: then another such event follows, with the number. `resynced`: the tree was compared
    with /proc since; what follows up to the next SyncEvent are the differences.
    """

    type: ClassVar[str] = "lost"
    source: str
    count: int | None
    resynced: bool
    mono_ns: int


@dataclass(slots=True)
class SyncEvent(_Event):
    """The tree is that of /proc now: the end of the initial replay, or of a resynchronisation."""

    type: ClassVar[str] = "sync"
    containers: int
    processes: int
    mono_ns: int


TreeEvent = ForkEvent | ExecEvent | ExitEvent | LostEvent | SyncEvent


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """A container as its OCI runtime has it. `start` as field 22 of /proc/PID/stat, or None."""

    id: str
    pid: int
    start: int | None = None
    runtime: str | None = None
    bundle: str | None = None
    name: str | None = None
    cgroup: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A live process of a container.

    `ppid` is today's parent, `forked_by` the first one. `threads` are the tids beside the
    leader's. `session`: what brought a process in from outside has no ancestor in the container:
    its init, or the first process of an exec session.
    """

    pid: int
    ppid: int
    forked_by: int
    nspid: int | None
    start: int | None
    argv: tuple[str, ...] | None
    threads: tuple[int, ...]
    session: bool
    depth: int


@dataclass(frozen=True, slots=True)
class ContainerTree:
    """A container and its processes, parents before their children, each with its depth."""

    container: ContainerInfo
    supervisor: int | None
    processes: tuple[ProcessInfo, ...]


@dataclass(slots=True)
class TreeStats:
    """Counters of a ProcessTree since it was opened."""

    source: str = ""
    receive_buffer: int = 0  # bytes, as the kernel accounts it
    received: int = 0  # messages of the source
    forks: int = 0
    execs: int = 0
    exits: int = 0
    thread_forks: int = 0
    thread_exits: int = 0
    lost: int = 0
    overruns: int = 0
    resyncs: int = 0
    late: int = 0  # events about a life that was over for us
    held: int = 0  # events that had to wait for another
    orphan_exits: int = 0  # exits of processes that never turned up
    dropped: int = 0  # events that nobody fetched in time
    evicted: int = 0  # things let go before their time, because a bound was reached
    processes: int = 0  # live on this host
    members: int = 0  # live in containers
    containers: int = 0
    source_stats: dict[str, int] = field(default_factory=dict)
