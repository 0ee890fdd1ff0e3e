"""Containers by their runtimes: whoever executes one is held while we look what it is for.

create  -> PRE_CREATE_CONTAINER, if that is wanted; the runtime is held until it was delivered
        -> the runtime exits: ADD_CONTAINER if there is a process, else the container has failed
start   -> held until ADD_CONTAINER was delivered; so the entry point runs after it
run     -> ADD_CONTAINER when the runtime has written the pid down; nobody is held
the end -> REMOVE_CONTAINER, from the pidfd

Everything else that executes a runtime goes on at once.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from conmon.watch import argv, fanotify, pidfd
from conmon.watch.creation import Caller, Creation, runtime_path
from conmon.watch.ends import Ends
from conmon.watch.events import EventType
from conmon.watch.execve import NotHeldError
from conmon.watch.holds import Hold, Holds
from conmon.watch.loop import Loop
from conmon.watch.report import Reporter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Container:
    """One container that was reported."""

    fields: dict[str, Any]
    hold: Hold


class Holder:
    """Answers for the threads that the group holds."""

    def __init__(
        self,
        loop: Loop,
        group: fanotify.Group,
        ends: Ends,
        reporter: Reporter,
        *,
        timeout_ns: int,
        pre_create: bool,
    ) -> None:
        self._loop = loop
        self._group = group
        self._ends = ends
        self._reporter = reporter
        self._timeout_ns = timeout_ns
        self._pre_create = pre_create
        self.holds = Holds(group.allow)
        #: by the pid of the runtime that creates it
        self._creations: dict[int, Creation] = {}
        #: by pid
        self._containers: dict[int, Container] = {}
        #: how many callers could not be understood
        self.unread = 0
        loop.watch(group.fd, self._on_held)

    def _on_held(self, _: int) -> None:
        for held in self._group.read():
            hold = None
            try:
                hold = self._judge(held)
            except (OSError, NotHeldError) as error:
                self.unread += 1
                log.debug("thread %d is not understood: %s", held.tid, error)
            except Exception:
                log.exception("thread %d", held.tid)
            finally:
                if hold is None:
                    self._group.allow(held.fd)
                else:
                    self._wait(hold, held.fd)

    def _wait(self, hold: Hold, fd: int) -> None:
        self.holds.wait(hold, fd)
        self._loop.at(hold.deadline_ns, self.holds.expire)

    def _judge(self, held: fanotify.Held) -> Hold | None:
        """What a thread is to wait for; None if it may go on. OSError; NotHeldError."""
        caller = Caller(held.tid, runtime_path(held.fd))
        call = argv.runtime_call(caller.argv)
        if call is None:
            return None
        if call.verb is argv.Verb.START:
            return self._on_start(caller, call)
        if caller.pid in self._creations:
            return None  # runtimes execute themselves once more, from a copy
        return self._on_create(caller, call)

    def _on_create(self, caller: Caller, call: argv.RuntimeCall) -> Hold | None:
        creation = Creation(caller, call)
        try:
            fd = pidfd.open_process(caller.pid)
        except BaseException:
            creation.close()
            raise
        self._creations[caller.pid] = creation
        hold = None
        if self._pre_create:
            hold = self.holds.begin(self._timeout_ns)
            kind = EventType.PRE_CREATE_CONTAINER
            self._reporter.appears(kind, creation.fields(), creation.config, hold)

        def exited(_: int) -> None:
            self._loop.forget(fd)
            os.close(fd)
            del self._creations[caller.pid]
            try:
                creation.held_ns = hold.lasted_ns if hold else 0
                self._found(creation)
            finally:
                creation.close()

        self._loop.watch(fd, exited)
        return hold

    def _on_start(self, caller: Caller, call: argv.RuntimeCall) -> Hold | None:
        for creation in self._creations.values():
            if creation.container_id == call.container_id:
                self._found(creation)  # its runtime exits just now
        for container in self._containers.values():
            same_id = container.fields["container_id"] == call.container_id
            if same_id and caller.status.uid in (0, container.fields["uid"]):
                return container.hold
        creation = Creation(caller, call)
        try:
            return self._found(creation)
        finally:
            creation.close()

    def _found(self, creation: Creation) -> Hold | None:
        """Report a container, if it has a process and was not reported yet."""
        process = creation.find_process()
        if process is None:
            return None
        pid, start_time = process
        if pid in self._containers:
            return self._containers[pid].hold
        fields = creation.fields() | {"container_pid": pid, "start_time": start_time}
        paused = creation.call.verb in (argv.Verb.CREATE, argv.Verb.START)
        hold = self.holds.begin(self._timeout_ns - creation.held_ns if paused else 0)
        try:
            self._ends.watch(pid, start_time, lambda status: self._ended(pid, status))
        except ProcessLookupError:
            return None
        self._containers[pid] = Container(fields, hold)
        self._reporter.appears(EventType.ADD_CONTAINER, fields, creation.config, hold)
        return hold

    def _ended(self, pid: int, status: int | None) -> None:
        self._reporter.ends(self._containers.pop(pid).fields, status)
