"""The monitors of this host, ours and C conmon's: found by their command lines."""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from conmon import cli, diag, logdrivers
from conmon.ctl import counters
from conmon.host import procfs

_RUNTIME = re.compile(rb"--runtime|-\w*r")
_TICKS = os.sysconf("SC_CLK_TCK")
_YOUNG_S = 1.0
_PAUSE_S = 0.01


@dataclass(frozen=True)
class Monitor:
    """One process that monitors a container, or an exec session in one.

    `id` is the container's; `session` names an exec session, and is None for a container's own
    monitor. The rest is looked up in /proc when it is asked for.
    """

    pid: int
    argv: tuple[bytes, ...]
    stat: procfs.Stat
    uid: int
    options: cli.Options
    id: str
    name: str
    session: str | None

    @property
    def label(self) -> str:
        """What a person calls it: the name, else the start of the id; then the session."""
        label = self.name or self.id[:12]
        return f"{label}/{self.session[:12]}" if self.session else label

    @property
    def runtime(self) -> str:
        """Path of the OCI runtime."""
        return os.fsdecode(self.options.runtime or b"")

    @functools.cached_property
    def log_plan(self) -> logdrivers.LogPlan:
        """Where the output is logged. A command line that is refused logs nowhere."""
        try:
            return logdrivers.plan_paths(self.options)
        except diag.Fatal:
            return logdrivers.LogPlan()

    @property
    def log_drivers(self) -> list[str]:
        """Names of the log drivers that are on."""
        plan = self.log_plan
        named = {
            "k8s-file": plan.path is not None,
            "journald": plan.journald,
            "passthrough": plan.passthrough,
        }
        return [name for name, on in named.items() if on] or ["none"]

    @functools.cached_property
    def container_pid(self) -> int | None:
        """The container's first process as this /proc numbers it; None if there is none now.

        The pid file has the number in the monitor's PID namespace, which may be an inner one.
        """
        try:
            with open(self.reach(self.options.container_pidfile or b""), "rb") as file:
                written = int(file.read(32))
            depth = len(procfs.status(self.pid).ns_pids) - 1
            for child in procfs.children(self.pid):
                numbers = procfs.status(child).ns_pids
                if len(numbers) > depth and numbers[depth] == written:
                    return child
            # Some runtimes leave the container to another parent.
            if depth == len(procfs.status(os.getpid()).ns_pids) - 1 and procfs.stat(written):
                return written
        except (OSError, ValueError):
            pass
        return None

    def is_hidden(self) -> bool:
        """Whether we may not look which process its container is."""
        try:
            with open(self.reach(self.options.container_pidfile or b""), "rb"):
                return False
        except PermissionError:
            return True
        except OSError:
            return False

    def counters(self) -> dict[str, int] | None:
        """The monitor's counters; None if it has none. PermissionError, or another OSError.

        One of ours publishes them when its caller knows of the container already: a monitor that
        has just started gets a second for it.
        """
        while (found := counters.read(self.pid)) is None and self.age_s() < _YOUNG_S:
            time.sleep(_PAUSE_S)
        return found

    def age_s(self) -> float:
        """How long the monitor has been there."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.stat.start / _TICKS

    def private_dirty(self) -> int:
        """Bytes of memory that this monitor alone costs. OSError."""
        return procfs.private_dirty(self.pid)

    def alive(self) -> bool:
        """Whether the pid is still this monitor's."""
        try:
            now = procfs.stat(self.pid)
        except OSError:
            return False
        return now.start == self.stat.start and now.state != "Z"

    # Its files

    def reach(self, path: bytes) -> str:
        """A path of the command line, as it can be opened from here while the monitor lives.

        A relative one starts in the monitor's directory, any in its mount namespace.
        """
        base = f"/proc/{self.pid}"
        if not path.startswith(b"/"):
            return f"{base}/cwd/{os.fsdecode(path)}"
        return os.fsdecode(path) if self._same_mounts() else f"{base}/root{os.fsdecode(path)}"

    def _same_mounts(self) -> bool:
        try:
            return os.readlink(f"/proc/{self.pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        except OSError:
            return True  # not ours to look at: its paths are at least worth a try

    @property
    def bundle(self) -> bytes | None:
        """The bundle, or the directory of the exec session; None if it has none."""
        options = self.options
        if options.bundle is None and not options.exec_mode:
            return b"."
        return options.bundle

    @property
    def attach_directory(self) -> str | None:
        """Where the attach socket is; None without one."""
        options = self.options
        if self.bundle is None or self.log_plan.passthrough:
            return None
        if options.full_attach:
            return self.reach(self.bundle)
        return self.reach(options.socket_dir_path + b"/" + (options.cuuid or b""))


def parse(args: list[bytes]) -> cli.Options | None:
    """Read a monitor's arguments (without argv[0]); None if that is no monitor's command line.

    Options that are not known, of another version of conmon, are left out.
    """
    args = list(args)
    for _ in range(len(args) + 1):
        try:
            options = cli.parse(args)
        except cli.UsageError as error:
            unknown = error.args[0].rpartition(b"Unknown option ")[2]
            if unknown not in args:
                return None
            args.remove(unknown)
        else:
            monitors = options.cid and not options.help and not options.version
            return options if monitors else None
    return None


def read(pid: int) -> Monitor | None:
    """The monitor of this pid; None if it is none. OSError if it has gone.

    It is known by what it was told, whatever its file is called: a container, a runtime, and a
    bundle or a process to execute.
    """
    words = procfs.argv(pid)
    if not any(map(_RUNTIME.match, words)):
        return None
    options = parse(words[1:])
    if options is None or options.cid is None or options.runtime is None:
        return None
    if options.bundle is None and not options.exec_mode:
        return None
    session = None
    if options.exec_mode:
        session = os.fsdecode(options.cuuid) if options.cuuid else str(pid)
    return Monitor(
        pid=pid,
        argv=tuple(words),
        stat=procfs.stat(pid),
        uid=procfs.status(pid).uid,
        options=options,
        id=os.fsdecode(options.cid),
        name=os.fsdecode(options.name or b""),
        session=session,
    )


def find() -> list[Monitor]:
    """All monitors, a container's before its exec sessions, the oldest first."""
    found: list[Monitor] = []
    for pid in procfs.pids():
        try:
            monitor = read(pid)
        except OSError:
            continue  # it has ended meanwhile
        if monitor is not None and monitor.stat.state != "Z":
            found.append(monitor)
    began: dict[str, int] = {}
    for monitor in found:
        began[monitor.id] = min(began.get(monitor.id, monitor.stat.start), monitor.stat.start)
    return sorted(
        _without_forks(found),
        key=lambda m: (began[m.id], m.id, m.session is not None, m.stat.start, m.pid),
    )


def _without_forks(found: Iterable[Monitor]) -> list[Monitor]:
    """Leave out who only begins: the parent that daemonizes, the child before it is the runtime.

    For some milliseconds these have the command line of the monitor. The monitor leads its
    session; where it could not (--sync), it leads its process group.
    """
    best: dict[tuple[bytes, ...], Monitor] = {}
    for monitor in found:
        other = best.get(monitor.argv)
        if other is None or _rank(monitor) > _rank(other):
            best[monitor.argv] = monitor
    return [monitor for monitor in best.values() if not _is_wrapper(monitor, best.values())]


def _is_wrapper(monitor: Monitor, found: Iterable[Monitor]) -> bool:
    """Whether it is a program that runs a monitor (timeout, strace): the end of its command line is
    that of another one."""
    return any(
        monitor.id == other.id
        and len(monitor.argv) > len(other.argv)
        and monitor.argv[-len(other.argv) :] == other.argv
        for other in found
    )


def _rank(monitor: Monitor) -> tuple[bool, bool]:
    stat = monitor.stat
    return stat.session == monitor.pid, stat.pgrp == monitor.pid
