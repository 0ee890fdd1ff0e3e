"""The proc connector: numbers, buffers, what is lost, and what is said when it cannot be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Guard
from harness_os import TIMEOUT_S, Deadline
from harness_tree import below, by_pid, socket_drops, tree_of, until, wait_tree

from conmon.watch import ProcessTree
from conmon.watch.sources.proc_connector import ProcConnector, Sequences
from conmon.watch.tree.events import ContainerInfo, ForkEvent, LostEvent, SyncEvent

STORM = Path(__file__).with_name("storm.c")
#: Time for a storm on a machine that others load too.
STORM_S = 300


@pytest.fixture(scope="session")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that forks as often as it is told."""
    compiler = shutil.which("cc")
    assert compiler, "no C compiler (make deps)"
    program = tmp_path_factory.mktemp("storm") / "storm"
    subprocess.run([compiler, "-O2", "-o", program, STORM], check=True, timeout=60)
    return program


class Recorder:
    """A sink that remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []

    def fork(self, ts: int, ppid: int, pid: int) -> None:
        assert ts > 0
        self.calls.append(("fork", ppid, pid))

    def exec(self, ts: int, pid: int) -> None:
        assert ts > 0
        self.calls.append(("exec", pid, 0))

    def exit(self, ts: int, pid: int, status: int) -> None:
        assert ts > 0
        self.calls.append(("exit", pid, status))

    def thread_fork(self, ts: int, pid: int, tid: int) -> None:
        assert ts > 0
        self.calls.append(("thread_fork", pid, tid))

    def thread_exit(self, ts: int, pid: int, tid: int, status: int) -> None:
        assert ts > 0  # of any process on this host: one that fails has its status in each thread
        self.calls.append(("thread_exit", pid, tid))


@pytest.fixture
def connector() -> Iterator[ProcConnector]:
    connector = ProcConnector()
    yield connector
    connector.close()


def drained(connector: ProcConnector) -> list[tuple[str, int, int]]:
    recorder = Recorder()
    while connector.drain(recorder):
        pass
    return recorder.calls


def test_events_of_a_child(connector: ProcConnector) -> None:
    """Fork, exec and exit with its wait status, in this order and at once."""
    child = subprocess.Popen(["/bin/sh", "-c", "exit 5"])
    child.wait(TIMEOUT_S)
    calls = [call for call in drained(connector) if child.pid in call[1:]]
    assert calls == [("fork", os.getpid(), child.pid), ("exec", child.pid, 0),
                     ("exit", child.pid, 5 << 8)]  # fmt: skip


def test_events_of_a_thread(connector: ProcConnector) -> None:
    """A thread is told with its process, and is no process."""
    tids: list[int] = []
    thread = threading.Thread(target=lambda: tids.append(threading.get_native_id()))
    thread.start()
    thread.join()
    calls = [call for call in drained(connector) if tids[0] in call[1:]]
    assert ("thread_fork", os.getpid(), tids[0]) in calls
    assert not [call for call in calls if call[0] in ("fork", "exit")]


def test_probe_tells_every_cpu(connector: ProcConnector) -> None:
    """After a probe each CPU has sent an event, and the affinity is what it was."""
    before, cpus = connector.received, os.sched_getaffinity(0)
    connector.probe()
    drained(connector)
    assert connector.received - before >= len(cpus)
    assert os.sched_getaffinity(0) == cpus


def test_gaps_are_counted_per_cpu() -> None:
    """Numbers that are missing count, each CPU for itself; the first number of a CPU does not."""
    sequences = Sequences()
    for cpu, number in [(0, 7), (1, 100), (0, 8), (1, 103), (0, 9), (0, 20)]:
        sequences.take(cpu, number)
    assert sequences.lost == 2 + 10


def test_numbers_wrap() -> None:
    """Numbers have 32 bits: 0 follows 2**32 - 1, and a gap may lie across."""
    sequences = Sequences()
    for number in (0xFFFFFFFE, 0xFFFFFFFF, 0, 1):
        sequences.take(0, number)
    assert sequences.lost == 0
    for number in (0xFFFFFFFE, 2):
        sequences.take(1, number)
    assert sequences.lost == 3


def test_default_buffer(guard: Guard) -> None:
    """It asks for 8 MiB unless told otherwise, and gets it whatever net.core.rmem_max is."""
    with ProcessTree(state_roots=[]) as tree:
        assert tree.stats().receive_buffer == 2 * (8 << 20)  # the kernel accounts twice as much


def test_storm_loses_nothing(storm: Path, guard: Guard) -> None:
    """100,000 forks: each is seen, none is lost, nobody is left over.

    The buffer has room for all: how soon a reader gets its turn is the machine's affair.
    """
    with ProcessTree(state_roots=[], receive_buffer=96 << 20) as tree:
        before = tree.stats()
        done = subprocess.run([storm, "100000"], timeout=STORM_S, check=True)
        after = tree.stats()
    assert done.returncode == 0
    assert after.forks - before.forks >= 100_000 and after.exits - before.exits >= 100_000
    assert (after.lost, after.overruns, after.resyncs) == (0, 0, 0)


def counted_exactly(tree: ProcessTree) -> int:
    """How many events were lost, when we and the kernel agree on it.

    Others work on this machine, so events may be lost while we look: it is looked at until the
    kernel's count is the same before and after.
    """
    deadline = Deadline(60)
    while True:
        before = socket_drops(tree.fileno())
        tree.snapshot()  # asks each CPU for its number, if a loss is known
        lost = tree.stats().lost
        after = socket_drops(tree.fileno())
        assert lost <= after, "more is told than was lost"
        if before == lost == after:
            return lost
        assert not deadline.passed(), f"{lost} counted, {before} to {after} lost"
        os.sched_yield()


def test_loss_is_counted_and_healed(storm: Path, guard: Guard) -> None:
    """A storm that a small buffer cannot hold: the count is the kernel's own, and the tree is
    that of /proc, with what was forked and what ended unseen."""
    sleepers = "for i in 1 2 3 4 5; do (sleep 1000 & exec sleep 1000) & done"
    script = f"sleep 1000 & read go; kill -9 $!; {storm} 2000; {sleepers}; echo done; wait"
    with ProcessTree(state_roots=[], receive_buffer=32768) as tree:
        box = subprocess.Popen(["/bin/sh", "-c", script],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        assert box.stdin and box.stdout
        tree.add_container(ContainerInfo("box", box.pid))
        wait_tree(tree, "box", lambda p: len(p) == 2)
        with tree.events() as events:
            until(events, lambda e: isinstance(e, SyncEvent))
            with tree._lock:  # nobody reads meanwhile
                box.stdin.write(b"\n")
                box.stdin.flush()
                assert box.stdout.readline() == b"done\n"
            lost = until(events, lambda e: isinstance(e, LostEvent) and (e.count or 0) > 1000)[-1]
            healed = until(events, lambda e: isinstance(e, SyncEvent))
        assert isinstance(lost, LostEvent) and lost.count and lost.resynced
        assert any(isinstance(e, ForkEvent) and e.synthetic for e in healed)
        wait_tree(tree, "box", lambda p: len(p) == 11)
        found = by_pid(tree_of(tree, "box"))
        assert {p.pid: p.ppid for p in found.values()} == {
            p.pid: p.ppid for p in below(box.pid).values()
        }
        assert counted_exactly(tree) >= lost.count
        stats = tree.stats()
        assert stats.overruns > 0 and stats.resyncs > 0
        for pid in found:
            os.kill(pid, 9)
        box.communicate(timeout=TIMEOUT_S)


UNPRIVILEGED = """
import os, sys
from conmon.watch import ContainerInfo, ProcessTree
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
with ProcessTree(state_roots=[]) as tree:
    child = os.fork()
    if not child:
        sys.stdin.readline()
        os._exit(3)
    tree.add_container(ContainerInfo("own", child))
    with tree.events(timeout=30) as events:
        print(next(events).pid == child, next(events).type, flush=True)
        os.write(int(sys.argv[1]), b"\\n")
        print(next(events).code)
"""


def test_tree_without_privileges() -> None:
    """Who gave up root sees its own processes, with a smaller buffer, and counts losses too."""
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", UNPRIVILEGED, str(writer)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=reader,
            pass_fds=[writer],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(reader)
        os.close(writer)
    if "need CAP_NET_ADMIN" in done.stderr:
        assert "CI" not in os.environ, done.stderr
        pytest.skip("this kernel tells process events to root only")
    assert (done.stdout.split(), done.stderr) == (["True", "sync", "3"], "")


@pytest.mark.parametrize(
    ("namespace", "words"),
    [
        (["--net"], "initial network namespace"),
        (["--pid", "--fork", "--mount-proc"], "initial pid namespace"),
    ],
)
def test_no_tree_in_other_namespaces(namespace: list[str], words: str) -> None:
    """Where there is nothing to be had, the error says what is missing; no tree pretends."""
    code = "from conmon.watch import ProcessTree; ProcessTree('proc')"
    done = subprocess.run(
        ["unshare", *namespace, sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert words in done.stderr
