"""The tree engine, case by case: late events, dead parents, pids used again, bounds."""

from __future__ import annotations

from conmon.watch.tree.engine import FORK_LOOKS, TreeEngine
from conmon.watch.tree.events import (
    ContainerInfo,
    ExecEvent,
    ExitEvent,
    ForkEvent,
    TreeEvent,
    TreeStats,
)
from conmon.watch.tree.node import Description
from conmon.watch.tree.procfs import TICK_NS, Seen
from conmon.watch.tree.reconcile import reconcile

DELAY = 100 * TICK_NS
START = 1000 * DELAY
HOST, INIT, OUTSIDE = 1, 2, 3


class FakeLook:
    """Sees what it is told to."""

    def __init__(self) -> None:
        self.members: set[int] = set()
        self.alive_pids: set[int] = set()
        self.asked: list[int] = []

    def init_of(self, pid: int) -> int | None:
        self.asked.append(pid)
        return INIT if pid in self.members else None

    def describe(self, pid: int) -> Description:
        return Description((f"program{pid}",), pid % 100, 5)

    def alive(self, pid: int, mono_ns: int) -> bool:
        assert mono_ns > 0
        return pid in self.alive_pids


class Bench:
    """An engine that knows a host, a container's init, and a process outside."""

    def __init__(self, *, limit: int = 8192, own_pids: bool = True, coarse: int = 0) -> None:
        self.look = FakeLook()
        self.told: list[TreeEvent] = []
        self.stats = TreeStats()
        self.engine = TreeEngine(
            self.look, self.told.append, self.stats, delay=DELAY, coarse=coarse, limit=limit
        )
        self.scan(1, {HOST: 0, INIT: HOST, OUTSIDE: HOST})
        added = self.engine.add_container(ContainerInfo("c", INIT), 0, 1, own_pids=own_pids)
        assert added
        self.told.clear()
        self.look.asked.clear()
        self.engine.tick(START)

    def scan(self, now: int, parents: dict[int, int], *, patient: bool = False) -> None:
        found = [Seen(pid, ppid, 5, 0, now, (), True) for pid, ppid in parents.items()]
        reconcile(self.engine, now, found, patient=patient)

    def types(self) -> list[str]:
        return [event.type for event in self.told]


def test_exit_before_fork() -> None:
    """vfork in audit: the exit waits for the fork, and both are told in their order."""
    bench = Bench(own_pids=False)
    bench.engine.exit(START + 5, 10, 127 << 8, INIT, True)
    assert bench.told == []
    bench.engine.fork(START + 4, INIT, 10)
    assert bench.types() == ["fork", "exit"]
    end = bench.told[1]
    assert isinstance(end, ExitEvent) and (end.code, end.duration_ns) == (127, 1)
    assert 10 not in bench.engine.live


def test_fork_after_its_parents_exit() -> None:
    """A dead process keeps its place for `delay`: its late child is a member, below init."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.exit(START + 3, 10, 0)
    bench.engine.fork(START + 2, 10, 11)
    child = bench.engine.live[11]
    assert child.container is not None
    assert (child.ppid, child.forked_by) == (INIT, 10)
    assert bench.engine.reparented() == [child]


def test_child_of_a_process_that_is_forgotten() -> None:
    """After the delay a late child is looked at instead."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.exit(START + 3, 10, 0)
    bench.engine.tick(START + DELAY)
    bench.look.members.add(11)
    bench.engine.fork(START + 2, 10, 11)
    assert 11 not in bench.engine.live
    bench.engine.tick(START + 3 * DELAY)
    assert bench.engine.live[11].container is not None


def test_pid_used_again_before_its_exit_came() -> None:
    """A fork of a pid that is live ends the old life at once; its own exit comes too late."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.fork(START + 9, OUTSIDE, 10)
    assert bench.types() == ["fork", "exit"]
    end = bench.told[1]
    assert isinstance(end, ExitEvent) and end.synthetic and end.code is None
    bench.engine.exit(START + 5, 10, 0)
    assert bench.engine.live[10].container is None
    assert bench.stats.late == 1


def test_pid_used_again_at_once() -> None:
    """A tombstone does not stand in the way of the pid's next life, nor take its events."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.exit(START + 2, 10, 0)
    bench.engine.fork(START + 3, INIT, 10)
    bench.engine.exec(START + 4, 10)
    assert bench.types() == ["fork", "exit", "fork", "exec"]
    bench.engine.exit(START + 5, 10, 9)
    end = bench.told[-1]
    assert isinstance(end, ExitEvent) and (end.code, end.signal) == (None, 9)


def test_orphans_go_below_init() -> None:
    """Children of a dead member are init's; those of a dead process outside are the host's."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.fork(START + 2, 10, 11)
    bench.engine.fork(START + 3, OUTSIDE, 20)
    bench.engine.fork(START + 4, 20, 21)
    bench.engine.exit(START + 5, 10, 0)
    bench.engine.exit(START + 6, 20, 0)
    assert bench.engine.live[11].ppid == INIT
    assert bench.engine.live[21].ppid == HOST
    # A subreaper in the container took it; only /proc knows.
    bench.engine.fork(START + 7, INIT, 12)
    bench.engine.set_parent(bench.engine.live[11], 12)
    assert list(bench.engine.live[12].children or {}) == [11]
    assert bench.engine.reparented() == []


def test_late_leader_of_a_process_that_executed() -> None:
    """A thread executed; the exit of the old leader, behind that, does not end the process."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.thread_fork(START + 2, 10, 11)
    bench.engine.exec(START + 3, 10)
    bench.look.alive_pids.add(10)
    bench.engine.exit(START + 4, 10, 0)
    assert bench.engine.live[10].threads is None
    bench.look.alive_pids.clear()
    bench.engine.exit(START + 5, 10, 0)
    assert bench.types() == ["fork", "exec", "exit"]


def test_first_children_outside_are_looked_at() -> None:
    """A young process outside may be a runtime that joins a container; one that forks on is not.
    An exec is looked at always."""
    bench = Bench()
    for pid in range(100, 100 + FORK_LOOKS + 5):
        bench.engine.fork(START + pid, OUTSIDE, pid)
    assert bench.look.asked == list(range(100, 100 + FORK_LOOKS))
    late = 100 + FORK_LOOKS + 1
    bench.look.members.add(late)
    bench.engine.exec(START + 500, late)
    assert bench.types() == ["fork", "exec"]


def test_children_of_members_are_not_looked_at() -> None:
    """Membership is inherited, without a look."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.fork(START + 2, 10, 11)
    assert bench.look.asked == []
    assert bench.types() == ["fork", "fork"]


def test_container_inside_a_container() -> None:
    """The innermost container has the process, whichever became known first."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.fork(START + 2, 10, 11)
    assert bench.engine.add_container(ContainerInfo("inner", 10), START, START + 3)
    bench.engine.fork(START + 4, 11, 12)
    names = {pid: node.container.info.id for pid, node in bench.engine.live.items()
             if node.container}  # fmt: skip
    assert names == {INIT: "c", 10: "inner", 11: "inner", 12: "inner"}
    assert {c.info.id: c.members for c in bench.engine.containers.values()} == {
        "c": 1,
        "inner": 3,
    }


def test_init_of_another_life_is_no_container() -> None:
    """An init that /proc says started after the fork that we know of is not that process."""
    bench = Bench()
    bench.engine.fork(START + 1, OUTSIDE, 10)
    assert not bench.engine.add_container(
        ContainerInfo("c2", 10), START + 5 * TICK_NS, START + 6 * TICK_NS
    )


def test_child_whose_fork_nobody_tells() -> None:
    """Audit in a pid namespace: the child's own exec tells of it, with its argv."""
    bench = Bench(own_pids=True)
    bench.engine.exec(START + 1, 10, INIT, ("prog", "x"))
    assert bench.types() == ["fork", "exec"]
    fork, told = bench.told
    assert isinstance(fork, ForkEvent) and fork.synthetic and fork.ppid == INIT
    assert isinstance(told, ExecEvent) and told.argv == ("prog", "x")


def test_child_whose_fork_never_comes() -> None:
    """In our pid namespace it is waited for, `delay` at most; its parent says where it is."""
    bench = Bench(own_pids=False)
    bench.engine.exec(START + 1, 10, INIT, ("prog",))
    assert bench.told == []
    bench.engine.tick(START + DELAY)
    assert bench.types() == ["fork", "exec"]
    bench.engine.exit(START + 2, 99, 0)
    bench.engine.tick(START + 2 * DELAY)
    assert bench.stats.orphan_exits == 1


def test_whole_process_ends_with_its_threads() -> None:
    """exit_group in audit ends a process whose threads' ends nobody tells of."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.thread_fork(START + 2, 10, 11)
    bench.engine.exit(START + 3, 10, 0, INIT, True)
    assert 10 not in bench.engine.live


def test_patient_scan_waits_for_the_exit() -> None:
    """Who is gone from /proc with nothing lost keeps the status that its exit brings."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.fork(START + 2, INIT, 11)
    bench.scan(START + 10, {HOST: 0, INIT: HOST, OUTSIDE: HOST}, patient=True)
    bench.engine.exit(START + 8, 10, 3 << 8)
    assert [(e.pid, e.code) for e in bench.told if isinstance(e, ExitEvent)] == [(10, 3)]
    bench.engine.tick(START + DELAY)  # killed by a signal: no exit ever comes
    last = bench.told[-1]
    assert isinstance(last, ExitEvent) and (last.pid, last.synthetic) == (11, True)


def test_coarse_times_keep_an_exit() -> None:
    """An exit whose time is that of its call, just before /proc was read, is an exit still."""
    bench = Bench(coarse=50)
    bench.engine.fork(START + 1, INIT, 10)
    bench.scan(START + 100, {HOST: 0, INIT: HOST, OUTSIDE: HOST, 10: INIT})
    bench.engine.exit(START + 60, 10, 0)
    assert 10 not in bench.engine.live


def test_chain_of_forks_in_reverse() -> None:
    """A long chain that comes from its end: all find their place, without recursion."""
    bench = Bench()
    for pid in range(3000, 100, -1):
        bench.engine.fork(START + pid, pid - 1, pid)
    assert bench.told == []
    bench.engine.fork(START + 1, INIT, 100)
    assert len(bench.engine.live) == 3 + 2901
    bench.engine.tick(START + DELAY)
    assert bench.engine.kept() == 0


def test_what_is_kept_is_bounded() -> None:
    """Dead processes and waiting events beyond the limit go early, and are counted."""
    bench = Bench(limit=10)
    for number in range(50):
        bench.engine.fork(START + number, INIT, 100)
        bench.engine.exit(START + number, 100, 0)
        bench.engine.exit(START + number, 1000 + number, 0)
    assert bench.engine.kept() <= 20
    assert bench.stats.evicted == 40 + 40
    assert bench.stats.orphan_exits == 40


def test_container_ends_with_its_last_process() -> None:
    """It is known as long as one of its processes lives, and no longer."""
    bench = Bench()
    bench.engine.fork(START + 1, INIT, 10)
    bench.engine.exit(START + 2, INIT, 0)
    assert [c.members for c in bench.engine.containers.values()] == [1]
    bench.engine.exit(START + 3, 10, 0)
    assert bench.engine.containers == {}
