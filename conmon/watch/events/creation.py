"""A container between the runtime's first call and its first process."""

from __future__ import annotations

import os
from typing import Any

from conmon.host import procfs
from conmon.host.namespaces import PidSpace
from conmon.host.place import Place
from conmon.oci import argv, bundles, states
from conmon.oci.monitors import monitor_of
from conmon.watch.events.execve import Execve, NotHeldError
from conmon.watch.events.holds import Hold

_PID_SIZE = 32


class Caller:
    """A process that is held while it executes a runtime. ProcessLookupError; NotHeldError."""

    def __init__(self, tid: int, runtime: str) -> None:
        self._execve = Execve(tid)
        self.argv = self._execve.argv()
        self.status = procfs.status(tid)
        self.pid = self.status.pid
        self.runtime = runtime

    def runtime_dir(self) -> str:
        """XDG_RUNTIME_DIR, empty if it has none."""
        try:
            return self._execve.environment().get("XDG_RUNTIME_DIR", "")
        except (NotHeldError, OSError):
            return ""


class Creation:
    """What is known of a container that a held caller makes or starts. OSError.

    It outlasts the caller, whose root directory and PID namespace it keeps.
    """

    def __init__(self, caller: Caller, call: argv.RuntimeCall) -> None:
        self.caller_pid = caller.pid
        self.call = call
        self.container_id = call.container_id
        self.runtime = caller.runtime
        self.uid = caller.status.uid
        #: of PRE_CREATE_CONTAINER
        self.hold: Hold | None = None
        self._born = procfs.stat(caller.pid).start
        # a pid file makes it needless to look for the runtime's state, and for its place
        runtime_dir = "" if call.root or call.pid_file else caller.runtime_dir()
        self._roots = states.roots(call.root, self.uid, runtime_dir)
        self._pids = PidSpace(caller.pid)
        try:
            self._place = Place.of(caller.pid)
        except BaseException:
            self._pids.close()
            raise
        self.pid_file = self._place.path(call.pid_file) if call.pid_file else ""
        self._stale = self._place.identity(self.pid_file) if call.pid_file else None
        self.conmon_pid, self.name = 0, ""
        self._take_monitor(caller.pid)
        self.config: str | None = None
        self.bundle = ""
        if call.verb is not argv.Verb.START:
            self._take_bundle(self._place.path(call.bundle))

    def find_process(self) -> tuple[int, int] | None:
        """Pid and start time of the container's first process; None while there is none."""
        pid = self._pid_of_file() if self.pid_file else self._pid_of_state()
        try:
            pid = self._pids.translate(pid) if pid else 0
            stat = procfs.stat(pid) if pid else None
        except ProcessLookupError:
            return None
        # older than the runtime that made it: the file is left over, the pid is somebody else's
        made_here = self.call.verb is not argv.Verb.START
        if stat is None or (made_here and stat.start < self._born):
            return None
        if not self.conmon_pid:
            self._take_monitor(pid)
        return pid, stat.start

    def is_of_same(self, other: Creation) -> bool:
        """Whether both are calls for one container."""
        return (self.container_id, self.bundle) == (other.container_id, other.bundle)

    def fields(self) -> dict[str, Any]:
        """The fields of a ContainerEvent, as far as they are known."""
        return {
            "container_id": self.container_id,
            "container_name": self.name,
            "bundle": self.bundle,
            "runtime": self.runtime,
            "pid_file": self.pid_file,
            "conmon_pid": self.conmon_pid,
            "uid": self.uid,
        }

    def close(self) -> None:
        """Let go what was kept of the caller."""
        self._pids.close()
        self._place.close()

    def _take_monitor(self, pid: int) -> None:
        """Take the monitor that a process was made by."""
        self.conmon_pid, call = monitor_of(pid, self.container_id)
        if call is not None and call.name:
            self.name = call.name

    def _take_bundle(self, bundle: str) -> None:
        self.bundle = bundle
        self.config = bundles.read_config(self._place, bundle)
        if not self.name:
            self.name = bundles.name_of(bundles.parse_config(self.config))

    def _pid_of_file(self) -> int:
        if self._place.identity(self.pid_file) == self._stale:
            return 0
        try:
            text = self._place.read(self.pid_file, _PID_SIZE).strip()
        except OSError:
            return 0
        return int(text) if text.isdigit() and len(text) < 10 else 0

    def _pid_of_state(self) -> int:
        state = states.find(self._place, self._roots, self.container_id)
        if state is None:
            return 0
        if not self.bundle and state.bundle:
            self._take_bundle(state.bundle)
        return state.pid


def runtime_path(fd: int) -> str:
    """The path of an open file, as far as there is one."""
    path = os.readlink(f"/proc/self/fd/{fd}")
    return path.removesuffix(" (deleted)")
