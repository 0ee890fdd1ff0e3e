"""ContainerNotifier: tells of containers on this host, whichever engine starts them."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from conmon.host import pidfd, procfs
from conmon.oci import bundles, runtimes
from conmon.oci.argv import is_container_id
from conmon.watch.events import support
from conmon.watch.events.client import CLOSE_S, Client
from conmon.watch.events.link import Message
from conmon.watch.events.types import ContainerEvent, EventType, Source

log = logging.getLogger(__name__)

Callback = Callable[[ContainerEvent], object]
Mode = Literal["auto", "hold", "notify"]

# Helpers that end this soon, and how many of them in a row are enough
_SOON_S, _ENOUGH = 5.0, 5
_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Statistics:
    """What went wrong since the notifier was made."""

    #: events that were thrown away, because the callback was too far behind
    lost: int = 0
    #: callbacks that took longer than they may: the container was let go
    expired: int = 0
    #: executions of a runtime that could not be understood
    unread: int = 0
    #: helper processes that had to be replaced
    restarts: int = 0
    #: False when no helper stays alive, and nothing is watched any more
    watching: bool = True


class ContainerNotifier:
    """Calls `callback` with a ContainerEvent for each container that begins and ends.

    Callbacks are called one after the other, on one thread of this object. For each container
    (id, pid and start time) there is at most one ADD_CONTAINER and one REMOVE_CONTAINER, in this
    order. An exception of the callback is logged. `callback_timeout`, in seconds, is the longest
    that a container waits for callbacks, over all its events; it then goes on.

    `runtime_paths` are the files that engines execute as OCI runtimes; by default those of
    RUNTIME_PATH (a list as of PATH) or runtimes.PATHS, below HOST_ROOT. They need not exist yet.
    `pre_create`: whether to tell of PRE_CREATE_CONTAINER. `initial`: whether to begin with an
    ADD_CONTAINER for each container that is there already; one that began in the same clock tick
    (1/100 s) as the notifier counts as new, and may not be held.

    `mode`: "hold" watches the execution of runtimes, and holds a container until the callback has
    returned; it needs privileges (support_details()). "notify" watches the state directories of
    runtimes, and sees less (support.NOTIFY_LIMITS). "auto" is "hold" where that is possible.

    Raises PermissionError, which names everything that mode "hold" lacks; ValueError; OSError.
    """

    def __init__(
        self,
        callback: Callback,
        *,
        runtime_paths: Sequence[str | os.PathLike[str]] | None = None,
        callback_timeout: float = 2.0,
        pre_create: bool = False,
        initial: bool = False,
        mode: Mode = "auto",
    ) -> None:
        if not 0 < callback_timeout < 3600:
            raise ValueError("callback_timeout must be more than 0 and less than 3600 seconds")
        self._callback = callback
        self.mode = _choose(mode)
        default = runtime_paths is None
        paths = runtimes.runtime_paths() if runtime_paths is None else runtime_paths
        self._settings: Message = {
            "mode": self.mode,
            "root": runtimes.host_root() if default else "/",
            "runtime_paths": [os.path.abspath(os.fspath(path)) for path in paths],
            "state_roots": runtimes.state_roots(),
            "timeout_ns": int(callback_timeout * 1e9),
            "pre_create": pre_create,
            "since": 0 if initial else _ticks(),
            "log_level": log.getEffectiveLevel(),
        }
        #: what the callback was told of, by pid and start time; guarded by the lock
        self._known: dict[tuple[int, int], Message] = {}
        #: of this helper, and the sum of those before it
        self._counters = Counter[str]()
        self._earlier = Counter[str]()
        self._watching = True
        #: the runtimes that are there and watched, in mode "hold"; as of the last event
        self.runtimes: tuple[str, ...]
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._client = Client(self._settings | {"known": []})
        self.runtimes = self._client.runtimes
        self._thread = threading.Thread(target=self._run, name="container-notifier", daemon=True)
        self._thread.start()

    @property
    def limits(self) -> tuple[str, ...]:
        """What the mode does not see, in words; nothing for "hold"."""
        return support.NOTIFY_LIMITS if self.mode == "notify" else ()

    @property
    def helper_pid(self) -> int:
        """Pid of the helper process."""
        return self._client.pid

    def statistics(self) -> Statistics:
        """What went wrong, up to the last event that the callback was called with."""
        return Statistics(**(self._earlier + self._counters), watching=self._watching)

    def add_watch_container_termination(self, container_id: str, pid: int) -> None:
        """Tell of the end of a container that began unseen, whose first process is `pid`.

        Once is enough; more calls do nothing. ProcessLookupError if there is no such process;
        ValueError if the id is none that a runtime takes; RuntimeError after `close`.
        """
        if self._closing.is_set():
            raise RuntimeError("the notifier is closed")
        if not is_container_id(container_id):
            raise ValueError(f"{container_id!r} is no container id")
        os.close(pidfd.open_process(pid))
        start_time = procfs.stat(pid).start
        fields = {"container_id": container_id, "container_pid": pid, "start_time": start_time}
        with self._lock:
            if (pid, start_time) in self._known:
                return
            self._known[pid, start_time] = fields
            self._client.send({"kind": "watch", "fields": fields})

    def close(self) -> None:
        """Watch no more, and let go whoever is held. No callback begins after the return.

        A callback that is under way is waited for, for `callback_timeout`, except by itself.
        """
        self._closing.set()
        with self._lock:
            self._client.hang_up()
        if threading.current_thread() is not self._thread:
            self._thread.join(self._settings["timeout_ns"] / 1e9 + CLOSE_S)

    def __enter__(self) -> ContainerNotifier:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        try:
            self._serve_helpers()
        finally:
            self._watching = False
            self._client.close()

    def _serve_helpers(self) -> None:
        """Serve one helper after the other, until close() or too many failures."""
        failures = 0
        while True:
            began = time.monotonic()
            self._serve()
            self._client.close()
            failures = failures + 1 if time.monotonic() - began < _SOON_S else 0
            if self._closing.wait(_PAUSE_S * failures):
                return
            if failures >= _ENOUGH:
                break
            self._restart()
        log.error("No helper process stays alive: containers are watched no more")

    def _restart(self) -> None:
        """Put another helper in the place of one that has ended, if that can be done now."""
        log.warning("The helper process has ended; it is replaced")
        self._earlier += self._counters + Counter(restarts=1)
        self._counters = Counter()
        with self._lock:
            known = dict(self._known)
        try:
            client = Client(self._settings | {"known": list(known.values())})
        except OSError as error:
            log.warning("There is no new helper process: %s", error)
            return
        with self._lock:
            self._client = client
            self.runtimes = client.runtimes
            for key in self._known.keys() - known.keys():
                client.send({"kind": "watch", "fields": self._known[key]})
            if self._closing.is_set():
                client.hang_up()

    def _serve(self) -> None:
        """Take the helper's messages until it ends."""
        while (messages := self._client.receive()) is not None:
            for message in messages:
                if self._closing.is_set():
                    return
                if message["kind"] == "event":
                    self._deliver(message)
                elif message["kind"] == "counters":
                    self._counters = Counter({k: n for k, n in message.items() if k != "kind"})
                elif message["kind"] == "runtimes":
                    self.runtimes = tuple(message["paths"])
                elif message["kind"] == "log":
                    log.log(message["level"], "helper: %s", message["text"])

    def _deliver(self, message: Message) -> None:
        fields: Message = message["event"]
        event = ContainerEvent(
            **fields
            | {
                "type": EventType(fields["type"]),
                "source": Source(fields.get("source", Source.EXEC)),
                "container_config": bundles.parse_config(message["config"]),
                "paused": self._is_paused(message["deadline_ns"]),
            }
        )
        self._note(event, fields)
        try:
            self._callback(event)
        except BaseException:  # SystemExit too: there is no one else on this thread to end
            log.exception("The callback failed for %s %s", event.type.name, event.container_id)
        if message["hold"]:
            self._client.send({"kind": "done", "hold": message["hold"]})

    def _is_paused(self, deadline_ns: int) -> bool:
        """Whether the container is held now: the helper keeps to the deadline, if it lives."""
        return time.monotonic_ns() < deadline_ns and self._client.is_alive()

    def _note(self, event: ContainerEvent, fields: Message) -> None:
        key = event.container_pid, event.start_time or 0
        with self._lock:
            if event.type is EventType.ADD_CONTAINER:
                own = ("type", "source", "mono_ns", "wall_ns")
                self._known[key] = {name: fields[name] for name in fields if name not in own}
            elif event.type is EventType.REMOVE_CONTAINER:
                self._known.pop(key, None)


def _choose(mode: Mode) -> Literal["hold", "notify"]:
    """The mode to work in. PermissionError; ValueError."""
    if mode not in ("auto", "hold", "notify"):
        raise ValueError(f"{mode!r} is no mode")
    if mode == "notify":
        return mode
    lacking = support.missing(support.support_details())
    if mode == "hold" and lacking:
        raise PermissionError(errno.EPERM, "; ".join(lacking))
    return "notify" if lacking else "hold"


def _ticks() -> int:
    """Now, as start times of processes are counted: clock ticks since boot."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) * ticks_per_s // 10**9
