"""From audit's events to those of the tree. No I/O: what it must look up, it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from conmon.watch.sources.audit_control import Calls
from conmon.watch.sources.audit_records import AuditEvent, Call, Reassembler, Serials, split_head

_CLONE_THREAD = 0x10000


class AuditSink(Protocol):
    """Who takes the events; `ts` in ns of CLOCK_MONOTONIC, when the call began, in ms steps."""

    def fork(self, ts: int, ppid: int, pid: int, /) -> None:
        """A new process."""

    def exec(self, ts: int, pid: int, ppid: int, argv: tuple[str, ...] | None, /) -> None:
        """A process executed a program."""

    def exit(self, ts: int, pid: int, status: int, ppid: int, whole: bool, /) -> None:
        """A process ends, with all its threads."""


class AuditTranslator:
    """Takes records, gives the events that they make up to a sink.

    `ours(pid)`: the process lives, in our pid namespace; `is_process(pid)`: this is the pid of a
    live process, not the tid of a thread.
    """

    def __init__(
        self,
        calls: Calls,
        ours: Callable[[int], bool],
        is_process: Callable[[int], bool],
        *,
        limit: int = 4096,
    ) -> None:
        self.unresolved = 0  # forks whose child only its own records can name
        self._calls = calls
        self._ours = ours
        self._is_process = is_process
        self._reassembler = Reassembler(limit)
        self._serials = Serials()

    @property
    def lost(self) -> int:
        """Events whose serial never came, or that came without what they are about."""
        return self._serials.lost + self._reassembler.damaged

    @property
    def incomplete(self) -> int:
        """Events whose end never came."""
        return self._reassembler.incomplete

    def take(self, kind: int, text: bytes, now: int, offset: int, sink: AuditSink) -> None:
        """A record came at `now` (ns); `offset`: what its wall clock is ahead of that, in ns."""
        split = split_head(text)
        if split is None:
            return
        head, rest = split
        self._serials.take(head.serial, now)
        event = self._reassembler.feed(kind, head, rest, now)
        if event is not None:
            self._translate(event, offset, sink)

    def expire(self, now: int, offset: int, sink: AuditSink) -> None:
        """Make what can be made of events whose end is overdue."""
        self._serials.expire(now)
        for event in self._reassembler.expire(now):
            self._translate(event, offset, sink)

    def _translate(self, event: AuditEvent, offset: int, sink: AuditSink) -> None:
        call = event.call()
        if call is None or call.arch != self._calls.arch or not call.success:
            return
        ts = event.head.ms * 1_000_000 - offset
        if call.number in self._calls.execute:
            sink.exec(ts, call.pid, call.ppid, event.argv())
        elif call.number == self._calls.exit_group:
            sink.exit(ts, call.pid, (call.a0 & 0xFF) << 8, call.ppid, True)
        elif call.result is not None and call.result > 0:
            self._fork(ts, call, call.result, sink)

    def _fork(self, ts: int, call: Call, child: int, sink: AuditSink) -> None:
        if call.number == self._calls.clone and call.a0 & _CLONE_THREAD:
            return
        known = call.number != self._calls.clone3 or self._is_process(child)
        if known and self._ours(call.pid):
            sink.fork(ts, call.pid, child)
        else:
            self.unresolved += 1
