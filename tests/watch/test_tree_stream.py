"""The stream of events: what nobody fetches, timeouts, and a tree that fails."""

from __future__ import annotations

import errno
import os
import subprocess
import threading

import pytest
from harness_os import TIMEOUT_S

from conmon.watch import ProcessTree
from conmon.watch.tree.events import LostEvent, SyncEvent
from conmon.watch.tree.keeper import TreeKeeper
from conmon.watch.tree.stream import QUEUE_LIMIT, EventStream


def numbered(number: int) -> SyncEvent:
    return SyncEvent(0, 0, number)


def test_what_nobody_fetches_is_bounded() -> None:
    """Beyond the limit the oldest events go; the first that is told is how many."""
    stream = EventStream(0, lambda _: None)
    kept = [stream.put(numbered(n)) for n in range(QUEUE_LIMIT + 10)]
    assert kept.count(False) == 10
    told = list(stream)
    lost = told[0]
    assert isinstance(lost, LostEvent) and (lost.source, lost.count) == ("queue", 10)
    assert [event.mono_ns for event in told[1:]] == list(range(10, QUEUE_LIMIT + 10))


def test_timeout_tells_what_has_come() -> None:
    """At the timeout the stream wants no more, and ends when all that had come is told."""
    detached: list[EventStream] = []

    def detach(stream: EventStream) -> None:
        detached.append(stream)

    stream = EventStream(0, detach)
    stream.put(numbered(1))
    assert next(stream) == numbered(1)
    assert detached == [stream]
    with pytest.raises(StopIteration):
        next(stream)


def test_one_stream_at_a_time() -> None:
    """A second stream is refused until the first is closed."""
    with ProcessTree(state_roots=[]) as tree:
        with tree.events(), pytest.raises(RuntimeError, match="stream"):
            tree.events()
        with tree.events(timeout=0) as events:
            assert [event.type for event in events] == ["sync"]


def test_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the source fails, whoever waits for events gets the error, and later callers too."""

    def fail(_: TreeKeeper) -> bool:
        raise OSError(errno.EIO, "no more events")

    tree = ProcessTree(state_roots=[])
    events = tree.events(timeout=TIMEOUT_S)
    next(events)
    monkeypatch.setattr(TreeKeeper, "pump", fail)
    subprocess.run(["true"], check=True)
    with pytest.raises(OSError, match="no more events"):
        next(events)
    monkeypatch.undo()
    with pytest.raises(RuntimeError):
        tree.snapshot()
    tree.close()


def test_close_leaves_nothing() -> None:
    """Trees that come and go leave no fd and no thread behind."""

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    ProcessTree(state_roots=[]).close()
    before = held()
    for _ in range(20):
        with ProcessTree(state_roots=[]) as tree:
            tree.snapshot()
            tree.events()
    assert held() == before
