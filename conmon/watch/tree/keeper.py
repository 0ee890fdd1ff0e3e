"""One source of events, the engine, /proc and the runtimes' states, worked together.

Not safe for threads: whoever uses it holds a lock.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from conmon.watch.tree.containers import RuntimeStates
from conmon.watch.tree.engine import TreeEngine
from conmon.watch.tree.events import ContainerInfo, LostEvent, SyncEvent, TreeEvent, TreeStats
from conmon.watch.tree.members import Members, ProcLook
from conmon.watch.tree.procfs import ProcFs, ticks_to_mono
from conmon.watch.tree.reconcile import reconcile, refresh

_LOSS_PATIENCE_NS = 500_000_000  # a storm that goes on is not waited for longer
_RETRY_NS = 20_000_000
_MAX_BATCHES = 64


class Source(Protocol):
    """Where the events come from."""

    name: str
    overruns: int
    received: int
    #: How often the tree must be compared with /proc though nothing is lost, in ns.
    rescan_ns: int | None
    #: How much later than others an event may come, in ns; None: as long as the dead are kept.
    patience_ns: int | None
    #: By how much the time of an event may be before the fact, in ns.
    coarse_ns: int

    @property
    def lost(self) -> int:
        """Events lost so far."""

    @property
    def receive_buffer(self) -> int:
        """Bytes that may wait for us in the kernel."""

    def fileno(self) -> int:
        """To wait on."""

    def drain(self, sink: TreeEngine, limit: int = ...) -> bool:
        """Hand over what has come; True if there may be more."""

    def probe(self) -> None:
        """Make losses show that would else show with the next event."""

    def take_loss(self) -> tuple[int, bool]:
        """Events lost, and if there was an overrun, since last asked."""

    def counters(self) -> dict[str, int]:
        """What only this source counts."""

    def close(self) -> None:
        """Let the kernel forget us."""


class TreeKeeper:
    """Keeps the tree of one source true.

    `emit` takes the events; `delay` in ns; `state_roots` as RuntimeStates takes them.
    """

    def __init__(
        self,
        source: Source,
        emit: Callable[[TreeEvent], None],
        *,
        delay: int,
        state_roots: Iterable[str],
    ) -> None:
        self.stats = TreeStats()
        self.source = source
        self._emit = emit
        self._states = RuntimeStates(state_roots)
        self._states_at = 0
        self._states_pause = 0
        self._states_due: int | None = None
        self._in_states = False
        self._given: list[ContainerInfo] = []
        self._missing = 0
        self._loss_since: int | None = None
        self._resync_after = 0
        self._rescan_due: int | None = None
        self._procfs = ProcFs()
        self._members = Members(
            self._procfs, self._discover, lambda init: init in self.engine.containers
        )
        self.look = ProcLook(self._procfs, self._members)
        patience = source.patience_ns
        self.engine = TreeEngine(
            self.look,
            emit,
            self.stats,
            delay=delay,
            patience=None if patience is None else min(patience, delay),
            coarse=source.coarse_ns,
        )
        self._scan()

    def next_moment(self) -> int | None:
        """When `pump` has something to do without an event (CLOCK_MONOTONIC, ns), or None."""
        moments = (
            self.engine.next_deadline(),
            self._states_due,
            self._rescan_due,
            None if self._loss_since is None else self._resync_after,
        )
        return min((moment for moment in moments if moment is not None), default=None)

    def pump(self) -> bool:
        """Take a batch of events; True if there may be more."""
        more = self.source.drain(self.engine)
        now = time.monotonic_ns()
        self.engine.tick(now)
        if self._states_due is not None and now >= self._states_due:
            self._read_states()
        if self._rescan_due is not None and now >= self._rescan_due:
            self._scan(patient=True)
        lost, overrun = self.source.take_loss()
        self._missing += lost
        if (lost or overrun) and self._loss_since is None:
            self._loss_since = now
        if self._loss_since is not None and now >= self._resync_after:
            quiet = not more or now - self._loss_since > _LOSS_PATIENCE_NS
            if quiet:
                self._resync()
        return more

    def catch_up(self, seconds: float = 1.0) -> None:
        """Take all that has come; at most `seconds`, as a storm may never end."""
        end = time.monotonic() + seconds
        while self.pump() and time.monotonic() < end:
            pass

    def settle(self) -> None:
        """Make a view true: no loss open, all states read, parents as they are today."""
        self.catch_up()
        if self._loss_since is not None:
            self._resync()
        elif self.source.rescan_ns is not None:
            self._scan(patient=True)
        self._read_states()
        for node in self.engine.reparented():
            stat = self._procfs.stat(node.pid)
            if stat is not None:
                self.engine.set_parent(node, stat.ppid)

    def count(self) -> TreeStats:
        """The counters, all of them up to date."""
        stats, source, containers = self.stats, self.source, self.engine.containers
        stats.source = source.name
        stats.received, stats.overruns, stats.lost = source.received, source.overruns, source.lost
        stats.source_stats = source.counters()
        stats.processes = len(self.engine.live)
        stats.containers = len(containers)
        stats.members = sum(container.members for container in containers.values())
        return stats

    def add_containers(self, infos: Iterable[ContainerInfo]) -> list[ContainerInfo]:
        """Take in containers, with their exec sessions; those whose init is gone are returned."""
        self.catch_up()
        infos = list(infos)
        gone = [info for info in infos if not self._add(info)]
        if gone:
            # They may be younger than the events that have come.
            self._scan(patient=True)
            gone = [info for info in gone if not self._add(info)]
        self.engine.assign_all(time.monotonic_ns())
        for info in infos:
            stat = self._procfs.stat(info.pid)
            if info not in gone and stat is not None:
                self._given.append(dataclasses.replace(info, start=stat.start))
        return gone

    def emit_sync(self) -> None:
        """Tell that all that is known was told."""
        stats = self.count()
        self._emit(SyncEvent(stats.containers, stats.members, time.monotonic_ns()))

    def _resync(self) -> None:
        """After a loss: tell of it, read /proc, tell what is different."""
        self.source.probe()
        for _ in range(_MAX_BATCHES):
            if not self.source.drain(self.engine):
                break
        lost, _ = self.source.take_loss()
        missing, self._missing = self._missing + lost, 0
        self._loss_since = None
        self.stats.resyncs += 1
        began = time.monotonic_ns()
        self._emit(LostEvent(self.source.name, missing or None, True, began))
        self._scan()
        refresh(self.engine, time.monotonic_ns())
        self.emit_sync()
        now = time.monotonic_ns()
        # Not more than a tenth of the time goes into reading /proc.
        self._resync_after = now + 10 * (now - began)

    def _scan(self, *, patient: bool = False) -> None:
        began = time.monotonic_ns()
        self.engine.tick(began)
        reconcile(self.engine, began, list(self._procfs.scan()), patient=patient)
        self._read_states()
        self.engine.assign_all(began)
        if self.source.rescan_ns is not None:
            self._rescan_due = time.monotonic_ns() + self.source.rescan_ns

    # Containers that become known.

    def _discover(self) -> None:
        """A process is in namespaces of nobody known: read the states, soon or now."""
        if self._in_states:
            return
        due = self._states_at + self._states_pause
        if time.monotonic_ns() >= due:
            self._read_states()
        elif self._states_due is None:
            self._states_due = due

    def _read_states(self) -> None:
        if self._in_states:
            return
        self._in_states = True
        try:
            began = time.monotonic_ns()
            self._states_due = None
            containers = self.engine.containers
            # After a loss a container may have been taken for ended: no state tells of a given one.
            self._given = [info for info in self._given if self._is_alive(info)]
            new = [
                info
                for info in (*self._given, *self._states)
                if info.pid not in containers or containers[info.pid].info.id != info.id
            ]
            if [info for info in new if self._add(info)]:
                self.engine.assign_all(began)
            self._states_at = time.monotonic_ns()
            # Not more than a tenth of the time, should processes in unknown namespaces abound.
            self._states_pause = 10 * (self._states_at - began)
        finally:
            self._in_states = False

    def _is_alive(self, info: ContainerInfo) -> bool:
        stat = self._procfs.stat(info.pid)
        return stat is not None and not stat.dead and stat.start == info.start

    def _add(self, info: ContainerInfo) -> bool:
        stat = self._procfs.stat(info.pid)
        if stat is None or stat.dead or (info.start is not None and stat.start != info.start):
            return False
        self._members.identify(info.pid, info.id)
        if info.name is None:
            info = dataclasses.replace(info, name=self._procfs.monitor_name(info.pid, info.id))
        if self.engine.add_container(
            info,
            ticks_to_mono(stat.start),
            time.monotonic_ns(),
            own_pids=self._members.own_pids(info.pid),
        ):
            return True
        # Its fork is still under way to us.
        self._states_due = time.monotonic_ns() + _RETRY_NS
        return False
