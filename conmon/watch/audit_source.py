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
from typing import Protocol

from conmon.watch.audit_control import NETLINK_AUDIT, AuditControl, calls_of_this_machine
from conmon.watch.audit_records import AuditEvent, Call, Reassembler, Serials, split_head
from conmon.watch.tree_procfs import ProcFs

_READLOG = 1  # multicast group
_SO_RCVBUFFORCE = 33
_CLONE_THREAD = 0x10000
_CLOCK_SET = 5_000_000  # ns


class AuditSink(Protocol):
    """Who takes the events; `ts` in ns of CLOCK_MONOTONIC, when the call began, in ms steps."""

    def fork(self, ts: int, ppid: int, pid: int, /) -> None:
        """A new process."""

    def exec(self, ts: int, pid: int, ppid: int, argv: tuple[str, ...] | None, /) -> None:
        """A process executed a program."""

    def exit(self, ts: int, pid: int, status: int, ppid: int, whole: bool, /) -> None:
        """A process ends, with all its threads."""


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
        self.unresolved = 0  # forks whose child only its own records can name
        self._overrun = False
        self._told = 0
        self._offset = 0
        self._calls = calls_of_this_machine()
        self._procfs = ProcFs()
        self._own_pids = self._procfs.namespace("self", "pid")
        self._reassembler = Reassembler()
        self._serials = Serials()
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
            self._control.acquire(self._calls)
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
        """Events whose serial never came, and records that the kernel itself dropped."""
        return self._serials.lost + self._dropped - self._dropped_before

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
            self._take(bytes(memoryview(self._buffer)[:size]), now, offset, sink)
        self._serials.expire(now)
        for event in self._reassembler.expire(now):
            self._translate(event, offset, sink)
        return more

    def _wall_offset(self, now: int) -> int:
        """The wall clock, which the records have, less CLOCK_MONOTONIC.

        The same until the clock was set: calls of one millisecond must keep one time.
        """
        offset = time.time_ns() - now
        if abs(offset - self._offset) > _CLOCK_SET:
            self._offset = offset
        return self._offset

    def _take(self, message: bytes, now: int, offset: int, sink: AuditSink) -> None:
        kind = struct.unpack_from("=H", message, 4)[0]
        split = split_head(message[16:])
        if split is None:
            return
        self.received += 1
        head, text = split
        self._serials.take(head.serial, now)
        event = self._reassembler.feed(kind, head, text, now)
        if event is not None:
            self._translate(event, offset, sink)

    def _translate(self, event: AuditEvent, offset: int, sink: AuditSink) -> None:
        """One event of the kernel as an event of the tree."""
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
        ours = self._procfs.namespace(call.pid, "pid") == self._own_pids
        if ours and (call.number != self._calls.clone3 or self._procfs.is_process(child)):
            sink.fork(ts, call.pid, child)
        else:
            self.unresolved += 1

    def counters(self) -> dict[str, int]:
        """What only this source counts."""
        return {"unresolved_forks": self.unresolved, "incomplete": self._reassembler.incomplete}

    def close(self) -> None:
        """Restore audit's settings, and end the subscription."""
        if self._socket.fileno() >= 0:
            try:
                self._control.close()
            finally:
                self._socket.close()
