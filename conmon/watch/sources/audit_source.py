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

import errno
import socket
import struct
import time

from conmon.watch.sources.audit_control import NETLINK_AUDIT, AuditControl, calls_of_this_machine
from conmon.watch.sources.audit_translate import AuditSink, AuditTranslator
from conmon.watch.tree.procfs import ProcFs

_READLOG = 1  # multicast group
_SO_RCVBUFFORCE = 33
_TYPE = struct.Struct("=4xH10x")  # of struct nlmsghdr
_CLOCK_SET = 5_000_000  # ns


class AuditSource:
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
        self.overruns = 0
        self.received = 0
        self._overrun = False
        self._told = 0
        self._offset = 0
        calls = calls_of_this_machine()
        procfs = ProcFs()
        own = procfs.namespace("self", "pid")
        self._translator = AuditTranslator(
            calls, lambda pid: procfs.namespace(pid, "pid") == own, procfs.is_process
        )
        self._buffer = bytearray(16384)
        self._dropped_before = 0
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_AUDIT
        )
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
            except PermissionError:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            try:
                self._socket.bind((0, _READLOG))
            except PermissionError:
                raise PermissionError(
                    errno.EPERM, "audit records need CAP_AUDIT_READ in the initial namespaces"
                ) from None
            self._socket.setblocking(False)
            self._control = AuditControl()
        except BaseException:
            self._socket.close()
            raise
        try:
            self._control.acquire(calls)
            self._dropped = self._dropped_before = self._control.status().lost
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """The socket, to wait on."""
        return self._socket.fileno()

    @property
    def receive_buffer(self) -> int:
        """Bytes that the kernel lets wait for us."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    @property
    def lost(self) -> int:
        """Events that did not come, and records that the kernel itself dropped."""
        return self._translator.lost + self._dropped - self._dropped_before

    def take_loss(self) -> tuple[int, bool]:
        """How many more are known to be lost, and if there was an overrun, since asked."""
        lost, self._told = self.lost - self._told, self.lost
        overrun, self._overrun = self._overrun, False
        return lost, overrun

    def probe(self) -> None:
        """Ask the kernel what it dropped; missing serials show two seconds later by themselves."""
        self._dropped = max(self._dropped, self._control.status().lost)

    def drain(self, sink: AuditSink, limit: int = 1024) -> bool:
        """Hand what has arrived to `sink`, `limit` records at most; True if more may be there."""
        now = time.monotonic_ns()
        offset = self._wall_offset(now)
        more = True
        for _ in range(limit):
            try:
                size, sender = self._socket.recvfrom_into(self._buffer)
            except BlockingIOError:
                more = False
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overruns += 1
                self._overrun = True
                continue
            if size < 16 or sender[0] != 0:
                continue  # not of the kernel
            self.received += 1
            kind = _TYPE.unpack_from(self._buffer)[0]
            self._translator.take(kind, bytes(self._buffer[16:size]), now, offset, sink)
        self._translator.expire(now, offset, sink)
        return more

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
        if self._socket.fileno() >= 0:
            try:
                self._control.close()
            finally:
                self._socket.close()
