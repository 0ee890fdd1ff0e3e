"""Whatever order events come in, within what the kernel allows: the tree ends as the true one."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from conmon.watch.tree.engine import TreeEngine
from conmon.watch.tree.events import ContainerInfo, ExitEvent, ForkEvent, TreeEvent, TreeStats
from conmon.watch.tree.node import Description
from conmon.watch.tree.procfs import TICK_NS, Seen
from conmon.watch.tree.reconcile import reconcile

#: Things happen this far apart at least, in ns: /proc's ticks tell lives apart.
UNIT = 2 * TICK_NS
DELAY = 1000 * UNIT
#: The latest that an event may be. A pid is not used again before that (measured: after 0.67 s
#: in a storm, while audit's records were late by a few ms), though the dead are kept longer.
LATEST = 100 * UNIT
EPOCH = 10 * DELAY  # far from the start of those that are there at first
HOST, INIT, OUTSIDE = 1, 2, 3
#: Few, so that they are used again all the time.
PIDS = range(10, 18)

Event = tuple[int, str, tuple[Any, ...]]  # time, method of the engine, arguments


@dataclass
class Process:
    ppid: int
    born: int
    member: bool
    forked_by: int
    threads: set[int] = field(default_factory=set)
    leads: bool = True


class World:
    """What truly happens: processes that fork, execute and end; and the events of it."""

    def __init__(self, pause: int = LATEST) -> None:
        self.now = EPOCH
        self.live = {
            HOST: Process(0, 0, False, 0),
            INIT: Process(HOST, 0, True, HOST),
            OUTSIDE: Process(HOST, 0, False, HOST),
        }
        self.events: list[Event] = []
        self.tids = 1000
        self.pause = pause
        self.free = dict.fromkeys(PIDS, 0)  # since when

    def _tell(self, method: str, *arguments: int) -> None:
        self.events.append((self.now, method, arguments))

    def step(self, gap: int, choice: int, which: int, threads: bool) -> None:
        """One thing happens, `gap` units after the last."""
        self.now += gap * UNIT
        actors = [pid for pid, process in self.live.items() if process.leads or process.threads]
        actor = actors[which % len(actors)]
        process = self.live[actor]
        if choice < 4:
            free = [pid for pid, since in self.free.items() if since + self.pause <= self.now]
            if free:
                pid = free[which % len(free)]
                del self.free[pid]
                self.live[pid] = Process(actor, self.now, process.member, actor)
                self._tell("fork", actor, pid)
        elif choice == 4:
            self.exec(actor, process)
        elif choice == 5 and threads and process.leads:
            self.tids += 1
            process.threads.add(self.tids)
            self._tell("thread_fork", actor, self.tids)
        elif choice == 6 and process.threads:
            tid = min(process.threads)
            process.threads.discard(tid)
            self._tell("thread_exit", actor, tid, 0)
            self.bury(actor)
        elif actor in PIDS and process.leads:
            process.leads = False
            self._tell("exit", actor, 0)
            self.bury(actor)

    def exec(self, pid: int, process: Process) -> None:
        """One thread executes: the others end before, and it becomes the leader."""
        survivor = min(process.threads) if process.threads and not process.leads else None
        for tid in sorted(process.threads):
            if tid != survivor:
                self._tell("thread_exit", pid, tid, 0)
        process.threads = set()
        process.leads = True
        self._tell("exec", pid)

    def bury(self, pid: int) -> None:
        process = self.live[pid]
        if process.leads or process.threads:
            return
        del self.live[pid]
        self.free[pid] = self.now
        for child in self.live.values():
            if child.ppid == pid:
                child.ppid = INIT if child.member else HOST

    def scan(self) -> list[Seen]:
        """What a reading of /proc finds now."""
        return [
            Seen(
                pid,
                process.ppid,
                process.born // TICK_NS,
                process.born,
                self.now,
                tuple(process.threads),
                process.leads,
            )
            for pid, process in self.live.items()
        ]


class BlindLook:
    """Sees nothing: what the tree knows it has from events."""

    def init_of(self, pid: int) -> int | None:
        del pid
        return None

    def describe(self, pid: int) -> Description:
        del pid
        return Description(None, None, None)

    def alive(self, pid: int, mono_ns: int) -> bool:
        raise AssertionError(f"asked for {pid} at {mono_ns}")


class Watched:
    """An engine that starts from the first three processes, and what it told."""

    def __init__(self) -> None:
        self.told: list[TreeEvent] = []
        self.stats = TreeStats()
        self.engine = TreeEngine(BlindLook(), self.told.append, self.stats, delay=DELAY)
        reconcile(self.engine, 1, World().scan())
        for node in self.engine.live.values():
            node.seen = 1
        assert self.engine.add_container(ContainerInfo("c", INIT), 0, 1)

    def give(self, happened: Event, now: int) -> None:
        ts, method, arguments = happened
        self.engine.tick(now)
        getattr(self.engine, method)(ts, *arguments)

    def finish(self, now: int) -> None:
        """Let all time pass that anything may wait for."""
        for rounds in range(1, 5):
            self.engine.tick(now + rounds * 2 * DELAY)

    def assert_like(self, world: World) -> None:
        found = self.engine.live
        assert found.keys() == world.live.keys()
        for pid, process in world.live.items():
            node = found[pid]
            assert (node.container is not None) == process.member, pid
            assert (node.threads or set()) == process.threads, pid
            if not node.reparented:
                assert node.ppid == process.ppid, pid
        members = sum(process.member for process in world.live.values())
        assert [c.members for c in self.engine.containers.values()] == [members]
        for pid, node in found.items():
            assert all(child.ppid == pid for child in (node.children or {}).values())
        assert self.engine.next_deadline() is None
        assert self.engine.kept() == 0, "something is kept for ever"

    def assert_ordered(self) -> None:
        """For each pid the events told are lives: fork, then what it did, then exit."""
        alive: set[int] = set()
        for told in self.told:
            if isinstance(told, ForkEvent):
                assert told.pid not in alive
                alive.add(told.pid)
            elif isinstance(told, ExitEvent):
                alive.remove(told.pid)
        assert alive == {pid for pid, node in self.engine.live.items() if node.container}


steps = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9), st.integers(0, 20)), max_size=60)
delays = st.lists(st.integers(0, LATEST - 1), min_size=1, max_size=30)


def happen(script: list[tuple[int, int, int]], *, threads: bool, pause: int = LATEST) -> World:
    world = World(pause)
    for gap, choice, which in script:
        world.step(gap, choice, which, threads)
    return world


@settings(max_examples=400, deadline=None)
@given(steps, delays)
def test_any_order_within_the_delay(
    script: list[tuple[int, int, int]], lateness: list[int]
) -> None:
    """Audit's disorder: any event comes late, exits before forks; pids are used again."""
    world = happen(script, threads=False)
    watched = Watched()
    arrivals = any_order(world.events, lateness)
    event(f"out of order: {[e for _, e in arrivals] != world.events}")
    for now, happened in arrivals:
        watched.give(happened, now)
    watched.finish(world.now + DELAY)
    watched.assert_like(world)
    watched.assert_ordered()
    assert watched.stats.orphan_exits == 0


@settings(max_examples=400, deadline=None)
@given(steps, delays)
def test_disorder_beyond_what_is_allowed(
    script: list[tuple[int, int, int]], lateness: list[int]
) -> None:
    """A pid used again before the events of its last life have come: lives may be mistaken for
    one another, but what is told stays well-formed, nothing is kept, and a scan heals it."""
    world = happen(script, threads=False, pause=0)
    watched = Watched()
    for now, happened in any_order(world.events, lateness):
        watched.give(happened, now)
    watched.assert_ordered()
    world.now += DELAY
    reconcile(watched.engine, world.now, world.scan())
    watched.finish(world.now)
    watched.assert_ordered()
    assert watched.engine.live.keys() == world.live.keys()
    assert watched.engine.kept() == 0


def any_order(events: list[Event], lateness: list[int]) -> list[tuple[int, Event]]:
    """The events with their arrival, in its order, each late by what its turn says."""
    arrivals = sorted(
        (happened[0] + late, number, happened)
        for number, (happened, late) in enumerate(zip(events, cycle(lateness), strict=False))
    )
    return [(now, happened) for now, _, happened in arrivals]


def tasks_of(happened: Event) -> set[int]:
    """The tasks whose own order the kernel keeps for this event: who does it, and who is made."""
    _, method, arguments = happened
    return set(arguments[:2]) if method in ("fork", "thread_fork") else {arguments[0]}


def proc_order(events: list[Event], lateness: list[int]) -> list[Event]:
    """An order that the proc connector may deliver: each process's own events in order."""
    last: dict[int, int] = {}
    arrivals = []
    for number, (happened, late) in enumerate(zip(events, cycle(lateness), strict=False)):
        tasks = tasks_of(happened)
        arrival = max([happened[0] + late, *(last.get(task, 0) for task in tasks)])
        for task in tasks:
            last[task] = arrival
        arrivals.append((arrival, number, happened))
    return [happened for _, _, happened in sorted(arrivals)]


@settings(max_examples=400, deadline=None)
@given(steps, delays)
def test_order_of_the_proc_connector(
    script: list[tuple[int, int, int]], lateness: list[int]
) -> None:
    """Threads, leaders that end first, threads that execute; CPUs tell in any order."""
    world = happen(script, threads=True)
    watched = Watched()
    for happened in proc_order(world.events, lateness):
        watched.give(happened, world.now)
    watched.finish(world.now)
    watched.assert_like(world)
    watched.assert_ordered()


@settings(max_examples=400, deadline=None)
@given(steps, steps, st.sets(st.integers(0, 120)), st.integers(0, 120))
def test_a_scan_heals_any_loss(
    before: list[tuple[int, int, int]],
    after: list[tuple[int, int, int]],
    lost: set[int],
    taken: int,
) -> None:
    """Events are lost, /proc is read, events from before still wait in the socket."""
    world = happen(before, threads=True)
    kept = [e for number, e in enumerate(world.events) if number not in lost]
    world.events.clear()
    watched = Watched()
    for happened in kept[:taken]:
        watched.give(happened, world.now)
    world.now += UNIT
    reconcile(watched.engine, world.now, world.scan())
    for gap, choice, which in after:
        world.step(gap, choice, which, True)
    for happened in kept[taken:] + world.events:
        watched.give(happened, world.now)
    watched.finish(world.now)
    watched.assert_like(world)
