"""Threads in the tree: their tids, leaders that end first, threads that execute."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pytest
from harness import Guard
from harness_os import TIMEOUT_S
from harness_tree import by_pid, tree_of, until

from conmon.watch import ProcessTree
from conmon.watch.tree.events import ContainerInfo, ExecEvent, ExitEvent

THREADS = """
import sys, threading
done = threading.Event()
for _ in range(3):
    threading.Thread(target=done.wait).start()
print("ready", flush=True)
sys.stdin.readline()
done.set()
"""
LEADER_FIRST = """
import ctypes, os, sys, threading
def rest():
    sys.stdin.readline()
    print("ready", flush=True)
    sys.stdin.readline()
    os._exit(6)
threading.Thread(target=rest).start()
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)  # exit(2) of a thread
"""
EXEC_FROM_THREAD = """
import os, sys, threading
def replace():
    sys.stdin.readline()
    os.execv("/bin/sh", ["sh", "-c", "echo ready; read x; exit 8"])
threading.Thread(target=replace).start()
threading.Event().wait()
"""


class Box:
    """A Python process as a container of its own."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdin and self.process.stdout
        self.stdin: IO[bytes] = self.process.stdin
        self.stdout: IO[bytes] = self.process.stdout
        self.pid = self.process.pid

    def go(self) -> None:
        self.stdin.write(b"\n")
        self.stdin.flush()

    def ready(self) -> None:
        assert self.stdout.readline() == b"ready\n"

    def close(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        self.stdin.close()
        self.stdout.close()


@pytest.fixture
def tree() -> Iterator[ProcessTree]:
    with ProcessTree(state_roots=[]) as tree:
        yield tree


@pytest.fixture
def box(request: pytest.FixtureRequest, guard: Guard) -> Iterator[Box]:
    box = Box(request.param)
    yield box
    box.close()


def tids(pid: int) -> set[int]:
    return {int(name) for name in os.listdir(f"/proc/{pid}/task")} - {pid}


@pytest.mark.parametrize("box", [THREADS], indirect=True)
def test_threads_are_listed(tree: ProcessTree, box: Box) -> None:
    """The tids of a process are those of /proc: from events, and from a snapshot."""
    tree.add_container(ContainerInfo("box", box.pid))
    box.ready()
    for other in (tree, ProcessTree(state_roots=[])):
        if other is not tree:
            other.add_container(ContainerInfo("box", box.pid))
        found = by_pid(tree_of(other, "box"))
        assert found.keys() == {box.pid}
        assert set(found[box.pid].threads) == tids(box.pid) and len(tids(box.pid)) == 3
        if other is not tree:
            other.close()
    with tree.events(timeout=TIMEOUT_S) as events:
        box.go()
        end = until(events, lambda e: isinstance(e, ExitEvent))[-1]
    assert isinstance(end, ExitEvent) and (end.pid, end.code) == (box.pid, 0)


@pytest.mark.parametrize("box", [LEADER_FIRST], indirect=True)
@pytest.mark.parametrize("when", ["events", "snapshot"])
def test_leader_that_ends_first(tree: ProcessTree, box: Box, when: str) -> None:
    """A process lives as long as its last thread, whose status is its own."""
    tree.add_container(ContainerInfo("box", box.pid))
    with open(f"/proc/{box.pid}/stat", "rb") as stat:
        while b") Z " not in stat.read():
            stat.seek(0)
            os.sched_yield()
    box.go()
    box.ready()
    if when == "snapshot":
        tree.close()
        tree = ProcessTree(state_roots=[])
        tree.add_container(ContainerInfo("box", box.pid))
    assert len(by_pid(tree_of(tree, "box"))[box.pid].threads) == 1
    with tree.events(timeout=TIMEOUT_S) as events:
        box.go()
        end = until(events, lambda e: isinstance(e, ExitEvent))[-1]
    assert isinstance(end, ExitEvent) and (end.pid, end.code) == (box.pid, 6)
    assert box.process.wait(TIMEOUT_S) == 6
    tree.close()


@pytest.mark.parametrize("box", [EXEC_FROM_THREAD], indirect=True)
def test_exec_from_a_thread(tree: ProcessTree, box: Box) -> None:
    """A thread that executes becomes the process: it goes on, without threads."""
    tree.add_container(ContainerInfo("box", box.pid))
    with tree.events(timeout=TIMEOUT_S) as events:
        box.go()
        box.ready()
        told = until(events, lambda e: isinstance(e, ExecEvent) and (e.argv or [""])[0] == "sh")
        assert not [e for e in told if isinstance(e, ExitEvent)]
        found = by_pid(tree_of(tree, "box"))
        assert found.keys() == {box.pid} and found[box.pid].threads == ()
        box.go()
        end = until(events, lambda e: isinstance(e, ExitEvent))[-1]
    assert isinstance(end, ExitEvent) and (end.pid, end.code) == (box.pid, 8)
