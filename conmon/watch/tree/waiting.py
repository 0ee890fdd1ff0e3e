"""What the engine keeps for a while: events without their subject, and the dead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from conmon.watch.tree.node import Node


class WaitingEvent(NamedTuple):
    """An event that waits until process `pid` turns up. Times in ns, CLOCK_MONOTONIC."""

    deadline: int
    pid: int
    ts: int
    method: Callable[..., None]
    arguments: tuple[Any, ...]


class Waiting:
    """Events by the pid that they wait for, `limit` at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_pid: dict[int, list[WaitingEvent]] = {}
        self._order: deque[WaitingEvent] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def add(self, event: WaitingEvent) -> WaitingEvent | None:
        """Keep an event; the return value is the oldest, where there are too many."""
        self._by_pid.setdefault(event.pid, []).append(event)
        self._order.append(event)
        return self._order.popleft() if len(self._order) > self._limit else None

    def take(self, pid: int) -> list[WaitingEvent]:
        """The events that waited for this process, in the order of their times."""
        waiting = self._by_pid.pop(pid, None)
        return sorted(waiting, key=lambda event: event.ts) if waiting is not None else []

    def remove(self, event: WaitingEvent) -> bool:
        """Let an event go; False if it was taken already."""
        waiting = self._by_pid.get(event.pid)
        if waiting is None or event not in waiting:
            return False
        waiting.remove(event)
        if not waiting:
            del self._by_pid[event.pid]
        return True

    def remove_until(self, ts: int) -> None:
        """Let all events go that tell of the time up to `ts`."""
        for event in self._order:
            if event.ts <= ts:
                self.remove(event)
        self._order = deque(event for event in self._order if event.ts > ts)

    def next_deadline(self) -> int | None:
        """The first deadline, or None."""
        return self._order[0].deadline if self._order else None

    def pop_due(self, now: int) -> WaitingEvent | None:
        """The oldest event, if its deadline is over."""
        if self._order and self._order[0].deadline <= now:
            return self._order.popleft()
        return None


class Past:
    """Lives that are over, by pid, for children that turn up late; `limit` at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_pid: dict[int, list[Node]] = {}
        self._order: deque[tuple[int, Node]] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def add(self, node: Node, deadline: int) -> bool:
        """Keep a life; False if the oldest had to go for it."""
        self._by_pid.setdefault(node.pid, []).append(node)
        self._order.append((deadline, node))
        if len(self._order) <= self._limit:
            return True
        self._forget()
        return False

    def find(self, pid: int, ts: int) -> Node | None:
        """The life of `pid` that was on at `ts`."""
        for life in self._by_pid.get(pid, ()):
            if life.born <= ts <= life.died:
                return life
        return None

    def expire(self, now: int) -> None:
        """Forget those whose deadline is over."""
        while self._order and self._order[0][0] <= now:
            self._forget()

    def _forget(self) -> None:
        node = self._order.popleft()[1]
        lives = self._by_pid[node.pid]
        lives.remove(node)
        if not lives:
            del self._by_pid[node.pid]
