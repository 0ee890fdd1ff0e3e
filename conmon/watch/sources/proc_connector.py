"""The process events connector: fork, exec and exit of every process of the host.

Messages: struct nlmsghdr, struct cn_msg (linux/connector.h), struct proc_event
(linux/cn_proc.h), 76 bytes in all, one to a datagram, native byte order. Facts:

- The events are in terms of the initial pid namespace and come only in the initial network
  namespace. Linux 6.x lets anybody listen; before, root only.
- The timestamp is CLOCK_MONOTONIC, taken when the event is sent.
- Each CPU numbers its events, of all kinds, so a gap is exactly what was lost. It shows with the
  next event of that CPU; `probe` makes each CPU send one. A subscription to fewer kinds would
  break that: those left out use numbers too.
- ENOBUFS tells of an overrun once, however many events it cost.
- An event takes about 800 bytes of the receive buffer, whose default (208 KiB) a storm of forks
  fills in 10 ms. SO_RCVBUFFORCE needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import time
from typing import Protocol

from conmon.watch.sources.netlink import EventSocket

_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = _CN_VAL_PROC = 1
_LISTEN, _IGNORE = 1, 2
_NLMSG_DONE = 3
_PR_SET_NAME, _PR_GET_NAME = 15, 16

_NONE, _FORK, _EXEC = 0, 1, 2
_EXIT = 0x80000000

_CONTROL = struct.Struct("=IHHII IIIIHH I")
# what, cpu and timestamp of the event follow its number; six words of data.
_EVENT = struct.Struct("=4xH10x 8xI8x IIQ 6I")
_NO_CPU = 0xFFFFFFFF
_NEEDED = "process events need CAP_NET_ADMIN in the initial namespaces, on this kernel"
_libc = ctypes.CDLL(None)


class Sink(Protocol):
    """Who takes the events; times in ns of CLOCK_MONOTONIC, pids of the initial namespace."""

    def fork(self, ts: int, ppid: int, pid: int, /) -> None:
        """A new process."""

    def exec(self, ts: int, pid: int, /) -> None:
        """A process executed a program."""

    def exit(self, ts: int, pid: int, status: int, /) -> None:
        """The leader of a process ended."""

    def thread_fork(self, ts: int, pid: int, tid: int, /) -> None:
        """A new thread."""

    def thread_exit(self, ts: int, pid: int, tid: int, status: int, /) -> None:
        """A thread that is no leader ended."""


def _online_cpus() -> set[int]:
    """The numbers in /sys/devices/system/cpu/online, such as `0-3,8`."""
    try:
        with open("/sys/devices/system/cpu/online", "rb") as file:
            parts = [part.split(b"-") for part in file.read().strip().split(b",") if part]
        return {cpu for part in parts for cpu in range(int(part[0]), int(part[-1]) + 1)}
    except (OSError, ValueError):
        return set()


def _rename_to_own_name() -> None:
    """Give this thread the name that it has, which is an event.

    prctl(2), as /proc/self/comm is closed to who gave up root (it is not dumpable then).
    """
    name = ctypes.create_string_buffer(16)
    _libc.prctl(_PR_GET_NAME, name, 0, 0, 0)
    _libc.prctl(_PR_SET_NAME, name, 0, 0, 0)


class Sequences:
    """Counts what is missing in the numbers that each CPU gives its events (32 bits, wrapping)."""

    def __init__(self) -> None:
        self.lost = 0
        self._next: dict[int, int] = {}

    def take(self, cpu: int, number: int) -> None:
        """A message came. The first of a CPU only tells where its numbers stand."""
        missing = (number - self._next.get(cpu, number)) & 0xFFFFFFFF
        if missing < 0x80000000:  # not a number from the past
            self.lost += missing
        self._next[cpu] = (number + 1) & 0xFFFFFFFF


class ProcConnector(EventSocket):
    """A subscription to the events of all processes.

    `receive_buffer`: bytes to ask for; the kernel accounts twice as much. Raises OSError with
    the reason when there is nothing to be had: PermissionError, or ConnectionRefusedError in
    another network namespace than the initial one.
    """

    name = "proc"
    rescan_ns: int | None = None
    patience_ns: int | None = None
    coarse_ns = 0

    def __init__(self, receive_buffer: int = 8 << 20) -> None:
        super().__init__(
            _NETLINK_CONNECTOR, _CN_IDX_PROC, room=4096, receive_buffer=receive_buffer,
            needed=_NEEDED,
        )  # fmt: skip
        self._sequences = Sequences()
        try:
            try:
                self._control(_LISTEN)
            except ConnectionRefusedError as error:
                raise ConnectionRefusedError(
                    error.errno, "process events come in the initial network namespace only"
                ) from None
            self._await_first()
        except BaseException:
            super().close()
            raise

    @property
    def lost(self) -> int:
        """Events that were lost so far, as far as their CPUs have told."""
        return self._sequences.lost

    def _control(self, operation: int) -> None:
        self.send(
            _CONTROL.pack(
                _CONTROL.size, _NLMSG_DONE, 0, 0, 0,
                _CN_IDX_PROC, _CN_VAL_PROC, 0, 0, 4, 0,
                operation,
            )
        )  # fmt: skip

    def probe(self) -> None:
        """Make every CPU that we can get to send an event, so that its number is known."""
        ours = os.sched_getaffinity(0)
        try:
            for cpu in _online_cpus() | ours:
                try:
                    os.sched_setaffinity(0, {cpu})
                except OSError:
                    continue  # offline by now, or not of our cpuset
                _rename_to_own_name()
        finally:
            os.sched_setaffinity(0, ours)

    def _await_first(self, seconds: float = 2.0) -> None:
        """Make sure that events come: where they do not, older kernels say nothing."""
        self.probe()
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self], [], [], left)[0]:
                raise PermissionError(errno.EPERM, _NEEDED)
            for size in self.messages(1):
                if size >= _EVENT.size:
                    _, number, what, cpu, *_ = _EVENT.unpack_from(self.buffer)
                    if cpu != _NO_CPU and what != _NONE:
                        self._sequences.take(cpu, number)
                        self.forget_overruns()
                        return

    def drain(self, sink: Sink, limit: int = 1024) -> bool:
        """Hand what has arrived to `sink`, `limit` messages at most; True if more may be there."""
        buffer, unpack = self.buffer, _EVENT.unpack_from
        take, size_of_event = self._sequences.take, _EVENT.size
        for size in self.messages(limit):
            if size < size_of_event:
                continue
            kind, number, what, cpu, ts, a, b, c, d, _, _ = unpack(buffer)
            if kind != _NLMSG_DONE or cpu == _NO_CPU:
                continue
            self.received += 1
            take(cpu, number)
            if what == _FORK:
                if c == d:
                    sink.fork(ts, b, c)
                else:
                    sink.thread_fork(ts, d, c)
            elif what == _EXIT:
                if a == b:
                    sink.exit(ts, a, c)
                else:
                    sink.thread_exit(ts, b, a, c)
            elif what == _EXEC:
                sink.exec(ts, b)
        return self.more

    def counters(self) -> dict[str, int]:
        """What only this source counts: nothing."""
        return {}

    def close(self) -> None:
        """End the subscription. Kernels before 6.6 count listeners and want to be told."""
        if self.fileno() >= 0:
            try:
                self._control(_IGNORE)
            except OSError:
                pass
            super().close()
