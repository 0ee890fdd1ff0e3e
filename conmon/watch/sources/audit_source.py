"""Process events from the kernel's audit, where the proc connector cannot be had.

It reads the multicast group, beside auditd and others. It knows less than the proc connector
(all measured on Linux 6.18), so the tree is compared with /proc every second:

- Who is killed by a signal has no exit record.
- Processes from before audit was first enabled have no records at all.
- The result of fork is the child's pid in the namespace of the caller. It is believed for callers
  in our namespace; elsewhere the child's own records tell of it.
- The result of clone3 may be a thread; its flags are in memory.
- Records come 40 ms late (up to 120), and the exit of a vfork'ed child before its fork.
"""

from __future__ import annotations

import struct
import time

from conmon.watch.sources.audit_control import NETLINK_AUDIT, AuditControl, calls_of_this_machine
from conmon.watch.sources.audit_translate import AuditSink, AuditTranslator
from conmon.watch.sources.netlink import EventSocket
from conmon.watch.tree.procfs import ProcFs

_READLOG = 1  # multicast group
_NEEDED = "audit records need CAP_AUDIT_READ in the initial namespaces"
_TYPE = struct.Struct("=4xH10x")  # of struct nlmsghdr
_CLOCK_SET = 5_000_000  # ns


class AuditSource(EventSocket):
    """A subscription to the audit records of process calls.

    Settings and rules of audit are changed for it, and restored by `close`. Raises
    PermissionError that names what is missing.
    """

    name = "audit"
    rescan_ns: int | None = 1_000_000_000
    # Some forks are never told in our pids: others' records need not wait for them for long.
    patience_ns: int | None = 200_000_000
    coarse_ns = 100_000_000

    def __init__(self, receive_buffer: int = 8 << 20) -> None:
        self._offset = 0
        calls = calls_of_this_machine()
        procfs = ProcFs()
        own = procfs.namespace("self", "pid")
        self._translator = AuditTranslator(
            calls, lambda pid: procfs.namespace(pid, "pid") == own, procfs.is_process
        )
        self._dropped_before = 0
        super().__init__(
            NETLINK_AUDIT, _READLOG, room=16384, receive_buffer=receive_buffer, needed=_NEEDED
        )
        try:
            self._control = AuditControl()
        except BaseException:
            super().close()
            raise
        try:
            self._control.acquire(calls)
            self._dropped = self._dropped_before = self._control.status().lost
        except BaseException:
            self.close()
            raise

    @property
    def lost(self) -> int:
        """Events that did not come, and records that the kernel itself dropped."""
        return self._translator.lost + self._dropped - self._dropped_before

    def probe(self) -> None:
        """Ask the kernel what it dropped; missing serials show two seconds later by themselves."""
        self._dropped = max(self._dropped, self._control.status().lost)

    def drain(self, sink: AuditSink, limit: int = 1024) -> bool:
        """Hand what has arrived to `sink`, `limit` records at most; True if more may be there."""
        now = time.monotonic_ns()
        offset = self._wall_offset(now)
        for size in self.messages(limit):
            if size < 16:
                continue
            self.received += 1
            kind = _TYPE.unpack_from(self.buffer)[0]
            self._translator.take(kind, bytes(self.buffer[16:size]), now, offset, sink)
        self._translator.expire(now, offset, sink)
        return self.more

    def _wall_offset(self, now: int) -> int:
        """The wall clock, which the records have, less CLOCK_MONOTONIC.

        The same until the clock was set: calls of one millisecond must keep one time.
        """
        offset = time.time_ns() - now
        if abs(offset - self._offset) > _CLOCK_SET:
            self._offset = offset
        return self._offset

    def counters(self) -> dict[str, int]:
        """What only this source counts."""
        return {
            "unresolved_forks": self._translator.unresolved,
            "incomplete_events": self._translator.incomplete,
        }

    def close(self) -> None:
        """Restore audit's settings, and end the subscription."""
        if self.fileno() >= 0:
            try:
                self._control.close()
            finally:
                super().close()
