"""The tree of all processes, kept from events. No I/O: what it must look at, it asks `Look`.

What it relies on, for the proc connector (measured over 300,000 events on Linux 6.18, and by how
the kernel sends them: from the context of the task, before the next step): a process's fork comes
before all that it does, and its exit after. Between tasks on different CPUs nothing is ordered.
For audit less holds: the exit of a vfork'ed child comes before its fork. So whatever misses its
subject waits for it, and a dead process keeps its place for a while, for children that turn up
late. Times tell the lives of a pid apart: an event belongs to the life that was on then.

Everything is bounded: live processes by the kernel's pid_max, all else by `limit`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from conmon.watch.tree.events import ExecEvent, ExitEvent, ForkEvent, TreeEvent, TreeStats
from conmon.watch.tree.forest import Forest
from conmon.watch.tree.node import Look, Node
from conmon.watch.tree.waiting import Past, Waiting, WaitingEvent

#: How many first children of a process outside are looked at when they are forked. A runtime that
#: joins a container's namespaces is a young process; one that forks on and on joins nothing, and
#: a look costs 4 µs, as much as the rest of the event. An exec is always looked at.
FORK_LOOKS = 16


class TreeEngine(Forest):
    """The live processes and their containers, kept from events.

    `stats` is counted up in place. `delay`: ns that a dead process is kept; `patience`: ns that an
    event waits for its subject, no more than that, and as much by default. `coarse`: ns by which
    the source's time of an event may be before the fact. `limit`: of the dead, and of the events
    that wait. `scanned`: when the last reading of /proc began.
    """

    def __init__(
        self,
        look: Look,
        emit: Callable[[TreeEvent], None],
        stats: TreeStats,
        *,
        delay: int = 1_000_000_000,
        patience: int | None = None,
        coarse: int = 0,
        limit: int = 8192,
    ) -> None:
        super().__init__(look, emit)
        self._stats = stats
        self._delay = delay
        self._patience = delay if patience is None else patience
        self._coarse = coarse
        self._now = 0
        self.scanned = 0
        self._past = Past(limit)
        self.waiting = Waiting(limit)
        self._ready: deque[WaitingEvent] = deque()
        self._doomed: deque[tuple[int, Node]] = deque()

    # Events, in the order of arrival. `ts` in ns of CLOCK_MONOTONIC.

    def fork(self, ts: int, ppid: int, pid: int) -> None:
        """Process `ppid` made process `pid`."""
        self._stats.forks += 1
        self._fork(ts, ppid, pid)

    def exec(self, ts: int, pid: int, ppid: int = 0, argv: tuple[str, ...] | None = None) -> None:
        """Process `pid` executed a program. `ppid` and `argv` where the source says them."""
        self._stats.execs += 1
        self._exec(ts, pid, ppid, argv)

    def exit(self, ts: int, pid: int, status: int, ppid: int = 0, whole: bool = False) -> None:
        """The leader of process `pid` ended with a wait status; `whole`: with all threads."""
        self._stats.exits += 1
        self._exit(ts, pid, status, ppid, whole)

    def thread_fork(self, ts: int, pid: int, tid: int) -> None:
        """Process `pid` has a new thread."""
        self._stats.thread_forks += 1
        self._thread_fork(ts, pid, tid)

    def thread_exit(self, ts: int, pid: int, tid: int, status: int) -> None:
        """A thread of process `pid`, not its leader, ended."""
        self._stats.thread_exits += 1
        self._thread_exit(ts, pid, tid, status)

    def tick(self, now: int) -> None:
        """Let time pass: what has waited for `delay` is let go."""
        self._now = now
        while self._doomed and self._doomed[0][0] <= now:
            node = self._doomed.popleft()[1]
            if node.doomed and not node.died:
                self.die(node, now, None, synthetic=True)
        while (event := self.waiting.pop_due(now)) is not None:
            self._give_up(event)
        self._past.expire(now)

    def next_deadline(self) -> int | None:
        """When `tick` has something to do that others wait for (CLOCK_MONOTONIC, ns), or None."""
        doomed = self._doomed[0][0] if self._doomed else None
        waiting = self.waiting.next_deadline()
        return min((moment for moment in (doomed, waiting) if moment is not None), default=None)

    def kept(self) -> int:
        """How many events and dead processes are kept now; none after `delay` without events."""
        return len(self.waiting) + len(self._past) + len(self._doomed)

    def _find(self, pid: int, ts: int) -> Node | None:
        """The life of `pid` that was on at `ts`."""
        node = self.live.get(pid)
        if node is not None and node.born <= ts:
            return node
        return self._past.find(pid, ts)

    def _fork(self, ts: int, ppid: int, pid: int) -> None:
        old = self.live.get(pid)
        if old is not None and ts <= old.seen:
            return  # /proc was read after: it is this life, or an earlier one
        parent = self._find(ppid, ts)
        if parent is None:
            self._hold(ppid, ts, self._fork, (ppid, pid))
            return
        node = Node(pid, ppid, ts)
        node.argv = parent.argv
        node.container = parent.container
        if old is not None:
            if ts < old.born:
                # Late, and its pid has another life already: a place for late children only.
                self._stats.late += 1
                node.died = old.born
                self._entomb(node)
                self.replay(pid)
                return
            self.die(old, ts, None, synthetic=True)  # its exit is late or lost
        if parent.died:
            self.adopt(node, parent)
        self.add(node)
        if ts + self._coarse <= self.scanned:
            self.doom(node)  # forked before /proc was read, and not there
        if node.container is not None:
            self.count_in(node.container)
            self.emit(ForkEvent(node.container.info.id, pid, node.ppid, ts))
        elif parent.looks < FORK_LOOKS:
            parent.looks += 1
            self.assign(node, ts)
        self.replay(pid)

    def _exec(self, ts: int, pid: int, ppid: int, argv: tuple[str, ...] | None) -> None:
        node = self._find(pid, ts) or self._guess(ts, pid, ppid, lives=True)
        if node is None:
            self._hold(pid, ts, self._exec, (pid, ppid, argv))
            return
        if ts <= node.seen and argv is None:
            return
        if node.died:
            self._stats.late += 1
            return
        # The kernel ends all other threads, and who executes takes the leader's place.
        if node.leader_status is not None:
            node.leader_status = None
        elif node.threads:
            node.doubtful = True
        node.threads = None
        if node.container is None:
            self.assign(node, ts)
        if node.container is not None:
            told = self.describe(node, argv)
            self.emit(
                ExecEvent(
                    node.container.info.id, pid, node.ppid, ts, told.nspid, told.start, told.argv
                )
            )

    def _exit(self, ts: int, pid: int, status: int, ppid: int, whole: bool) -> None:
        node = self._find(pid, ts) or self._guess(ts, pid, ppid, lives=False)
        if node is None:
            self._hold(pid, ts, self._exit, (pid, status, ppid, whole))
        elif ts + self._coarse <= node.seen:
            pass
        elif node.died:
            self._stats.late += 1
        elif node.threads and not whole:
            node.leader_status = status
        elif node.doubtful and self._look.alive(pid, ts):
            node.doubtful = False  # that was the leader whose place another thread took
        else:
            self.die(node, ts, status)

    def _thread_fork(self, ts: int, pid: int, tid: int) -> None:
        node = self._find(pid, ts)
        if node is None:
            self._hold(pid, ts, self._thread_fork, (pid, tid))
        elif ts > node.seen and not node.died:
            if node.threads is None:
                node.threads = set()
            node.threads.add(tid)

    def _thread_exit(self, ts: int, pid: int, tid: int, status: int) -> None:
        node = self._find(pid, ts)
        if node is None:
            self._hold(pid, ts, self._thread_exit, (pid, tid, status))
        elif ts > node.seen and node.threads is not None and not node.died:
            node.threads.discard(tid)
            if not node.threads:
                node.threads = None
                if node.leader_status is not None:
                    # exit_group(2) gives all threads the status of the process.
                    self.die(node, ts, status)

    def die(self, node: Node, ts: int, status: int | None, *, synthetic: bool = False) -> None:
        """End a process: `status` as wait(2) has it, None for not known."""
        del self.live[node.pid]
        self.unlink(node)
        node.died = ts
        node.threads = None
        if node.children is not None:
            children, node.children = node.children, None
            for child in children.values():
                self.adopt(child, node)
                self.link(child)
        container = node.container
        if container is not None:
            container.members -= 1
            code = signal = None
            if status is not None:
                signal = status & 0x7F or None
                code = None if signal else status >> 8
            self.emit(
                ExitEvent(
                    container.info.id,
                    node.pid,
                    node.ppid,
                    ts,
                    code,
                    signal,
                    max(0, ts - node.born),
                    synthetic,
                )
            )
            self.drop_if_over(container)
        self._entomb(node)

    def doom(self, node: Node) -> None:
        """A process is dead, with its exit under way; after `delay` it goes without."""
        node.doomed = True
        self._doomed.append((self._now + self._delay, node))

    def _entomb(self, node: Node) -> None:
        if not self._past.add(node, self._now + self._delay):
            self._stats.evicted += 1

    # Events that wait for their subject.

    def _hold(
        self, pid: int, ts: int, method: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        if ts + self._coarse <= self.scanned:
            return  # older than what /proc said, and /proc does not know it
        self._stats.held += 1
        event = WaitingEvent(self._now + self._patience, pid, ts, method, arguments)
        oldest = self.waiting.add(event)
        if oldest is not None:
            self._stats.evicted += 1
            self._give_up(oldest)

    def replay(self, pid: int) -> None:
        """Do what has waited for a process that turned up."""
        waiting = self.waiting.take(pid)
        if not waiting:
            return
        # No recursion: a chain of forks may come in reverse.
        idle = not self._ready
        self._ready.extend(waiting)
        while idle and self._ready:
            event = self._ready[0]
            event.method(event.ts, *event.arguments)
            self._ready.popleft()

    def _give_up(self, event: WaitingEvent) -> None:
        """What an event waits for will not come: make of it what can be made."""
        if not self.waiting.remove(event):
            return  # it was replayed
        _, pid, ts, method, arguments = event
        if method == self._fork:
            node = Node(arguments[1], pid, ts)
            node.reparented = True
            self._imply(node, ts)
        elif method in (self._exec, self._exit):
            ppid = arguments[1] if method == self._exec else arguments[2]
            if ppid:
                self._imply_child(ts, pid, ppid)
                method(ts, *arguments)
            elif method == self._exit:
                self._stats.orphan_exits += 1

    def _imply_child(self, ts: int, pid: int, ppid: int) -> None:
        """Take a process in that its own record tells of, with its parent."""
        node = Node(pid, ppid, ts)
        parent = self._find(ppid, ts)
        node.container = parent.container if parent is not None else None
        self._imply(node, ts)

    def _guess(self, ts: int, pid: int, ppid: int, *, lives: bool) -> Node | None:
        """A process whose fork nobody may tell of; `lives`: it did after this event.

        Its parent is in a pid namespace of its own, so the fork was audited with a pid of there;
        or it was made by a runtime that goes between namespaces, and then it must be looked at
        while it lives.
        """
        if not ppid:
            return None
        parent = self._find(ppid, ts)
        inside = parent is not None and parent.container is not None and parent.container.own_pids
        if not inside and not (lives and self._look.alive(pid, ts)):
            return None
        self._imply_child(ts, pid, ppid)
        return self._find(pid, ts)

    def _imply(self, node: Node, ts: int) -> None:
        """Take a process in whose fork, or whose parent, nobody told us of."""
        old = self.live.get(node.pid)
        if old is not None:
            if ts < old.born or ts <= old.seen:
                return
            self.die(old, ts, None, synthetic=True)
        self.add(node)
        if node.container is not None:
            self.count_in(node.container)
            self.emit(ForkEvent(node.container.info.id, node.pid, node.ppid, ts, synthetic=True))
        else:
            self.assign(node, ts)
        self.replay(node.pid)
