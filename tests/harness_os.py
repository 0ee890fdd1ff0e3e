"""Kernel interfaces that the harness waits on: poll, pidfd, inotify, the process table.

Every wait has a bound; a bound that is reached is an AssertionError that says what was awaited.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import select
import signal
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

#: The longest that anything may take before a test fails, in seconds. Not a measure of speed:
#: generous, so that a loaded machine fails nothing.
TIMEOUT_S = 30.0
ARM64 = platform.machine() == "aarch64"  # which has no vfork and no poll but clone and ppoll

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_CHILD_SUBREAPER = 36


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def ordinary_signals() -> None:
    """Give whatever this process starts the signals of a shell in the foreground.

    A parent may have left some of them ignored or blocked (nohup, a shell's background job), and
    both outlive an exec. A handler does not: who ignored SIGHUP still survives it here.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        # These two are Python's own doing, which subprocess undoes.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _survive if number == signal.SIGHUP else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _survive(number: int, frame: object) -> None:
    """Do nothing."""


class Deadline:
    """A moment that a wait may not pass."""

    def __init__(self, seconds: float = TIMEOUT_S) -> None:
        self._end = time.monotonic() + seconds

    def left_ms(self) -> int:
        return max(0, int((self._end - time.monotonic()) * 1000))

    def passed(self) -> bool:
        return time.monotonic() >= self._end


def wait_fd(fd: int, deadline: Deadline, events: int = select.POLLIN) -> bool:
    """True when `fd` has one of `events` (or HUP, or ERR) before the deadline."""
    poller = select.poll()
    poller.register(fd, events)
    return bool(poller.poll(deadline.left_ms()))


def is_readable(fd: int) -> bool:
    """True when a read of `fd` would not block now: data, end of file, or an error."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))


def set_subreaper(on: bool) -> None:
    """Make orphaned descendants children of this process (prctl(2)), or stop that."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0), "prctl")


class Process:
    """One process, held by pidfd: it cannot be mistaken for another with the same number."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.fd = os.pidfd_open(pid)
        self._status: int | None = None

    def __repr__(self) -> str:
        return f"<process {self.pid}>"

    def alive(self) -> bool:
        return not is_readable(self.fd)

    def signal(self, number: int) -> None:
        signal.pidfd_send_signal(self.fd, number)

    def wait_gone(self, seconds: float = TIMEOUT_S) -> None:
        """Wait for its end, whoever its parent is."""
        if not wait_fd(self.fd, Deadline(seconds)):
            raise AssertionError(f"{self!r} still lives after {seconds} s")

    def wait(self, seconds: float = TIMEOUT_S) -> int:
        """Wait for a child's end and reap it: its exit status, or -N for death by signal N."""
        if self._status is None:
            self.wait_gone(seconds)
            result = os.waitid(os.P_PIDFD, self.fd, os.WEXITED)
            assert result is not None
            exited = result.si_code == os.CLD_EXITED
            self._status = result.si_status if exited else -result.si_status
        return self._status

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass(frozen=True)
class Row:
    """One line of the process table."""

    pid: int
    ppid: int
    state: str
    command: str


def _row(pid: int) -> Row | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    # The name in brackets may hold anything: the fields begin behind the last bracket.
    name, _, rest = stat.partition(b"(")[2].rpartition(b")")
    fields = rest.split()
    command = argv.rstrip(b"\0").replace(b"\0", b" ") or b"[" + name + b"]"
    return Row(pid, int(fields[1]), fields[0].decode(), os.fsdecode(command))


def descendants() -> list[Row]:
    """All living and unreaped processes below this one, parents before children."""
    rows = [row for name in os.listdir("/proc") if name.isdigit() and (row := _row(int(name)))]
    found: list[Row] = []
    parents = {os.getpid()}
    while parents:
        generation = [row for row in rows if row.ppid in parents]
        found += generation
        parents = {row.pid for row in generation}
    return found


def _reap(rows: Iterable[Row]) -> None:
    for row in rows:
        if row.ppid == os.getpid():
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, row.pid, os.WEXITED | os.WNOHANG)


def wait_no_descendants(spare: frozenset[int], seconds: float) -> list[Row]:
    """Wait until nothing below this process is left but `spare`; return what is left all the same.

    Needs the subreaper attribute: then every orphan is a child, and its end can be waited for.
    """
    deadline = Deadline(seconds)
    while True:
        _reap(row for row in descendants() if row.pid not in spare and row.state == "Z")
        left = [row for row in descendants() if row.pid not in spare]
        if not left or deadline.passed():
            return left
        poller = select.poll()
        fds: list[int] = []
        for row in left:
            try:
                fds.append(os.pidfd_open(row.pid))
            except ProcessLookupError:
                continue
            poller.register(fds[-1], select.POLLIN)
        if len(fds) == len(left):
            poller.poll(deadline.left_ms())
        for fd in fds:
            os.close(fd)


def end_descendants(spare: frozenset[int], seconds: float = TIMEOUT_S) -> None:
    """Kill and reap everything below this process but `spare`, orphans as they appear."""
    deadline = Deadline(seconds)
    while not deadline.passed():
        left = [row for row in descendants() if row.pid not in spare]
        if not left:
            return
        for row in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(row.pid, signal.SIGKILL)
        wait_no_descendants(spare, 0.2)
    raise AssertionError("descendants that cannot be ended: " + str(descendants()))


@dataclass(frozen=True)
class Event:
    """One inotify event: what happened (`MOVED_TO`, …), to which name, in which directory."""

    what: str
    directory: str
    name: str


class Inotify:
    """One inotify instance: the events of all its directories in the order they happened.

    Format: inotify(7), `struct inotify_event` = int wd, uint32 mask, cookie, len, then the name.
    """

    _NAMES: ClassVar[dict[int, str]] = {
        0x2: "MODIFY",
        0x8: "CLOSE_WRITE",
        0x40: "MOVED_FROM",
        0x80: "MOVED_TO",
        0x100: "CREATE",
        0x200: "DELETE",
    }
    _HEADER = struct.Struct("iIII")

    def __init__(self) -> None:
        self.fd = _check(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")
        self._directories: dict[int, str] = {}

    def watch(self, directory: Path, label: str) -> None:
        wd = _check(
            _libc.inotify_add_watch(self.fd, os.fsencode(directory), sum(self._NAMES)),
            f"inotify_add_watch {directory}",
        )
        self._directories[wd] = label

    def read(self) -> list[Event]:
        """The events that are there now; does not wait."""
        events: list[Event] = []
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return events
        at = 0
        while at < len(data):
            wd, mask, _, length = self._HEADER.unpack_from(data, at)
            at += self._HEADER.size
            name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
            at += length
            what = self._NAMES.get(mask & sum(self._NAMES))
            if what and wd in self._directories:
                events.append(Event(what, self._directories[wd], name))
        return events

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
