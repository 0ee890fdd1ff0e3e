"""Containers by their runtimes: whoever executes one is held while we look what it is for.

create  -> PRE_CREATE_CONTAINER, if that is wanted; the runtime is held until it was delivered
        -> the runtime exits: ADD_CONTAINER if there is a process, else the container has failed
start   -> held until ADD_CONTAINER was delivered; so the entry point runs after it
run     -> ADD_CONTAINER when the runtime has written the pid down; nobody is held

Everything else that executes a runtime goes on at once.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass

from conmon.host import pidfd
from conmon.oci import argv
from conmon.watch.events import fanotify
from conmon.watch.events.containers import Container, Containers
from conmon.watch.events.creation import Caller, Creation, runtime_path
from conmon.watch.events.execve import NotHeldError
from conmon.watch.events.holds import Hold, Holds
from conmon.watch.events.loop import Loop
from conmon.watch.events.report import Reporter
from conmon.watch.events.types import EventType

log = logging.getLogger(__name__)

# `run` and `restore` may stay for the container's life: how often to look for its pid meanwhile
_FIRST_LOOK_NS, _LOOKS_NS = 5_000_000, 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wait:
    """What a thread waits for."""

    hold: Hold
    stranger: bool = False


class Holder:
    """Answers for the threads that the group holds.

    `timeout_ns`: the longest that one container is held, over all of its events.
    """

    def __init__(
        self,
        loop: Loop,
        group: fanotify.Group,
        containers: Containers,
        reporter: Reporter,
        *,
        timeout_ns: int,
        pre_create: bool,
    ) -> None:
        self._loop = loop
        self._group = group
        self._containers = containers
        self._reporter = reporter
        self._timeout_ns = timeout_ns
        self._pre_create = pre_create
        self.holds = Holds(group.allow)
        #: by the pid of the runtime that makes the container
        self._creations: dict[int, Creation] = {}
        #: how many callers could not be understood
        self.unread = 0
        loop.watch(group.fd, self._on_held)

    def _on_held(self, _: int) -> None:
        for held in self._group.read():
            wait: Wait | None = None
            try:
                wait = self._judge(held)
            except (OSError, NotHeldError) as error:
                self.unread += 1
                log.debug("thread %d is not understood: %s", held.tid, error)
            except Exception:
                self.unread += 1
                log.exception("thread %d", held.tid)
            finally:
                self._answer(held.fd, wait)
        self._group.reserve()

    def _answer(self, fd: int, wait: Wait | None) -> None:
        if wait is None:
            self._group.allow(fd)
        else:
            self.holds.wait(wait.hold, fd, wait.stranger)
            self._loop.at(wait.hold.deadline_ns, self.holds.expire)

    def _judge(self, held: fanotify.HeldThread) -> Wait | None:
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

    def _on_create(self, caller: Caller, call: argv.RuntimeCall) -> Wait | None:
        creation = Creation(caller, call)
        # a wrapper may be watched, and the runtime that it runs
        again = any(creation.is_of_same(other) for other in self._creations.values())
        try:
            runtime = pidfd.open_process(caller.pid)
        except BaseException:
            creation.close()
            raise
        self._creations[caller.pid] = creation
        self._loop.watch(runtime, lambda _: self._on_exit(runtime, creation))
        if call.verb is not argv.Verb.CREATE:
            self._look(creation, _FIRST_LOOK_NS)
        if not self._pre_create or again or self._reporter.is_full():
            return None
        creation.hold = self.holds.begin(self._timeout_ns)
        kind = EventType.PRE_CREATE_CONTAINER
        self._reporter.appears(kind, creation.fields(), creation.config, creation.hold)
        return Wait(creation.hold)

    def _on_exit(self, runtime: int, creation: Creation) -> None:
        self._loop.forget(runtime)
        os.close(runtime)
        del self._creations[creation.caller_pid]
        try:
            self._found(creation)
        finally:
            creation.close()

    def _look(self, creation: Creation, pause_ns: int) -> None:
        """Look for the process of a container whose runtime may stay, now and then."""
        if self._creations.get(creation.caller_pid) is creation and self._found(creation) is None:
            longer = min(2 * pause_ns, _LOOKS_NS)
            self._loop.at(time.monotonic_ns() + pause_ns, lambda: self._look(creation, longer))

    def _on_start(self, caller: Caller, call: argv.RuntimeCall) -> Wait | None:
        for creation in self._creations.values():
            if creation.container_id == call.container_id:
                self._found(creation)  # its runtime exits just now
        known = self._containers.of_id(call.container_id)
        known.sort(key=lambda container: _is_stranger(caller, container))
        if known:
            return Wait(known[0].hold, _is_stranger(caller, known[0]))
        # its creation was not seen
        creation = Creation(caller, call)
        try:
            found = self._found(creation)
        finally:
            creation.close()
        return Wait(found.hold, _is_stranger(caller, found)) if found is not None else None

    def _found(self, creation: Creation) -> Container | None:
        """Report a container if it has a process by now, once; whether it is there."""
        process = creation.find_process()
        if process is None:
            return None
        pid, start_time = process
        container = self._containers.get(pid, start_time)
        if container is not None:
            return container
        fields = creation.fields() | {"container_pid": pid, "start_time": start_time}
        hold = self.holds.begin(self._budget_ns(creation))
        container = self._containers.add(fields, creation.config, hold)
        if container is None:
            self.holds.answered(hold.number)
        return container

    def _budget_ns(self, creation: Creation) -> int:
        """How long the container may be held for its ADD_CONTAINER."""
        if creation.call.verb not in (argv.Verb.CREATE, argv.Verb.START):
            return 0  # the entry point may be running
        return self._timeout_ns - (creation.hold.lasted_ns if creation.hold else 0)


def _is_stranger(caller: Caller, container: Container) -> bool:
    """Whether a caller is neither root nor the container's user."""
    return caller.status.uid not in (0, container.fields.get("uid"))
