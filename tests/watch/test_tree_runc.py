"""Process trees of real containers: the tree is what ps says in there, the events what happened."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from harness import Guard
from harness_os import TIMEOUT_S
from harness_tree import Runc, by_pid, in_pid_namespace, running, tree_of, truth, until, wait_tree

from conmon.watch import ProcessTree
from conmon.watch.tree.events import (
    ExecEvent,
    ExitEvent,
    ForkEvent,
    SyncEvent,
    TreeEvent,
)

#: Three processes besides the shell; one lost its parent.
FAMILY = 'sleep 1000 & (sh -c "sleep 1001 & exit 0"); (sleep 1002; true) & wait'


@pytest.fixture
def runc(tmp_path: Path, guard: Guard) -> Iterator[Runc]:
    runc = Runc(tmp_path)
    try:
        yield runc
    finally:
        runc.close()


@pytest.fixture
def tree(runc: Runc) -> Iterator[ProcessTree]:
    with ProcessTree(state_roots=[str(runc.root)]) as tree:
        yield tree


def assert_like_proc(tree: ProcessTree, name: str, init: int) -> None:
    """The tree of a container in which nothing changes is that of its pid namespace."""
    found = by_pid(tree_of(tree, name))
    expected = in_pid_namespace(init)
    assert found.keys() == expected.keys()
    for pid, process in found.items():
        assert (process.ppid, process.nspid) == (expected[pid].ppid, expected[pid].nspid)
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
        assert list(process.argv or ()) == argv


def test_tree_from_events_equals_proc(runc: Runc, tree: ProcessTree) -> None:
    """A container that starts under our eyes: its tree is that of /proc, orphans included."""
    name = runc.run(FAMILY)
    wait_tree(tree, name, lambda p: running(p, "sleep 1000", "sleep 1001", "sleep 1002"))
    assert_like_proc(tree, name, runc.init(name))
    orphan = next(p for p in by_pid(tree_of(tree, name)).values() if p.argv == ("sleep", "1001"))
    assert orphan.ppid == runc.init(name) != orphan.forked_by
    assert tree.stats().lost == 0


def test_tree_from_snapshot_equals_proc(runc: Runc) -> None:
    """A container and an exec session from before: found by state, /proc and namespace."""
    name = runc.run(FAMILY)
    session = runc.exec(name, "sleep 1003; true")
    with ProcessTree(state_roots=[str(runc.root)]) as tree:
        wait_tree(
            tree, name, lambda p: running(p, *(f"sleep {n}" for n in (1000, 1001, 1002, 1003)))
        )
        assert_like_proc(tree, name, runc.init(name))
    with ProcessTree(state_roots=[str(runc.root)]) as tree:
        assert_like_proc(tree, name, runc.init(name))
        processes = by_pid(tree_of(tree, name))
        assert [p.argv for p in processes.values() if p.session][1] == (
            "sh", "-c", "sleep 1003; true",
        )  # fmt: skip
    runc.delete(name)
    assert session.wait(TIMEOUT_S) == 137


def test_exec_session_is_found(runc: Runc, tree: ProcessTree) -> None:
    """An exec session is no descendant of init, and a member from its first exec to its exit."""
    name = runc.run("sleep 1000; true")
    with tree.events(timeout=TIMEOUT_S) as events:
        session = runc.exec(name, "sleep 0.1; exit 7")
        seen = until(events, lambda e: isinstance(e, ExitEvent) and e.code == 7)
    assert session.wait(TIMEOUT_S) == 7
    pid = seen[-1].pid if isinstance(seen[-1], ExitEvent) else 0
    mine = [e for e in seen if isinstance(e, (ForkEvent, ExecEvent, ExitEvent)) and e.pid == pid]
    assert [e.type for e in mine] == ["fork", "exec", "exit"]
    assert isinstance(mine[1], ExecEvent) and mine[1].argv == ("sh", "-c", "sleep 0.1; exit 7")
    assert all(e.container == name for e in mine)
    assert_like_proc(tree, name, runc.init(name))


def exited(code: int, event: TreeEvent) -> bool:
    return isinstance(event, ExitEvent) and event.code == code


def test_short_exec_sessions_are_all_found(runc: Runc, tree: ProcessTree) -> None:
    """Sessions that end at once are seen as well: found while the runtime prepares them."""
    name = runc.run("sleep 1000; true")
    with tree.events(timeout=TIMEOUT_S) as events:
        until(events, lambda e: isinstance(e, SyncEvent))
        codes = []
        for code in range(20, 25):
            assert runc.exec(name, f"exit {code}").wait(TIMEOUT_S) == code
            until(events, partial(exited, code))
            codes.append(code)
    assert codes == [20, 21, 22, 23, 24]


def test_exit_says_code_or_signal(runc: Runc, tree: ProcessTree) -> None:
    """Exit events tell status, duration and the right pid."""
    name = runc.run(
        "trap : USR1; sleep 1002 & wait $!;"  # until the signal
        "sleep 1000 & sh -c 'sleep 0.2; exit 3'; kill -9 $!; wait $!; sleep 1001; true"
    )
    wait_tree(tree, name, lambda p: len(p) == 2)
    with tree.events(timeout=TIMEOUT_S) as events:
        os.kill(runc.init(name), signal.SIGUSR1)
        seen = until(events, lambda e: isinstance(e, ExecEvent) and e.argv == ("sleep", "1001"))
    ends = {(e.code, e.signal): e for e in seen if isinstance(e, ExitEvent)}
    slow = ends[3, None]
    assert slow.duration_ns is not None and slow.duration_ns >= 200_000_000
    assert (None, int(signal.SIGKILL)) in ends
    assert_like_proc(tree, name, runc.init(name))


def test_container_goes_with_its_last_process(runc: Runc, tree: ProcessTree) -> None:
    """After the end of a container all its processes had an exit event, and it is gone."""
    name = runc.run(FAMILY)
    members = set(wait_tree(tree, name, lambda p: len(p) >= 5))
    with tree.events(timeout=TIMEOUT_S, initial=False) as events:
        runc.delete(name)
        for event in events:
            if isinstance(event, ExitEvent) and event.container == name:
                members.discard(event.pid)
                if not members:
                    break
    assert not members
    assert tree_of(tree, name) is None


def test_stream_begins_with_what_runs(runc: Runc, tree: ProcessTree) -> None:
    """The initial replay has every process, parents first, marked as synthetic; then a sync."""
    name = runc.run(FAMILY)
    wait_tree(tree, name, lambda p: running(p, "sleep 1000", "sleep 1001", "sleep 1002"))
    with tree.events(timeout=TIMEOUT_S) as events:
        seen = until(events, lambda e: isinstance(e, SyncEvent))
    mine = [e for e in seen if isinstance(e, ForkEvent) and e.container == name]
    assert {e.pid for e in mine} == by_pid(tree_of(tree, name)).keys()
    assert all(e.synthetic and e.argv for e in mine)
    known = {mine[0].ppid}
    for event in mine:
        assert event.ppid in known
        known.add(event.pid)


def test_events_as_json(runc: Runc, tree: ProcessTree) -> None:
    """Each event is one line of JSON with a schema version, its type and both clocks."""
    name = runc.run("exec sleep 1000")

    def last(event: TreeEvent) -> bool:
        return isinstance(event, ExecEvent) and event.argv == ("sleep", "1000")

    with tree.events(timeout=TIMEOUT_S) as events:
        seen = until(events, lambda e: isinstance(e, SyncEvent) or last(e))
    for event in seen:
        line = event.to_json()
        fields = json.loads(line)
        assert "\n" not in line and fields["v"] == 1 and fields["type"] == event.type
        assert fields["mono_ns"] == event.mono_ns and fields["time"].endswith("Z")
    told = next(json.loads(e.to_json()) for e in seen if isinstance(e, ForkEvent | ExecEvent))
    assert (told["container"], told["pid"], told["nspid"]) == (name, runc.init(name), 1)
    stat = Path(f"/proc/{told['pid']}/stat").read_text().rpartition(") ")[2].split()
    assert told["start"] == int(stat[19])


def test_state_left_over_names_no_stranger(runc: Runc) -> None:
    """A state whose init has another start than the process of that pid is not believed."""
    name = runc.run("exec sleep 1000")
    path = runc.root / name / "state.json"
    state = json.loads(path.read_bytes())
    state["init_process_start"] -= 1
    path.write_text(json.dumps(state))
    with ProcessTree(state_roots=[str(runc.root)]) as tree:
        assert tree.snapshot() == ()
    os.kill(state["init_process_pid"], signal.SIGKILL)


def test_container_in_the_hosts_pid_namespace(runc: Runc, tree: ProcessTree) -> None:
    """Without a pid namespace an exec session is found by its mounts; the host stays outside."""
    name = runc.run("sleep 1000; true", namespaces=[{"type": "mount"}])
    session = runc.exec(name, "sleep 1001; true")
    found = wait_tree(tree, name, lambda p: running(p, "sleep 1000", "sleep 1001"))
    assert len(found) == 4 and os.getpid() not in found
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    session.wait(TIMEOUT_S)


def test_pod_with_one_pid_namespace(runc: Runc, tree: ProcessTree) -> None:
    """Containers that share a pid namespace: each process is in its own container."""
    first = runc.run("sleep 1000; true")
    space = f"/proc/{runc.init(first)}/ns/pid"
    second = runc.run(
        "sleep 1001; true", namespaces=[{"type": "pid", "path": space}, {"type": "mount"}]
    )
    sessions = [runc.exec(first, "sleep 1002; true"), runc.exec(second, "sleep 1003; true")]
    one = wait_tree(tree, first, lambda p: running(p, "sleep 1000", "sleep 1002"))
    two = wait_tree(tree, second, lambda p: running(p, "sleep 1001", "sleep 1003"))
    assert len(one) == len(two) == 4
    assert one.keys() | two.keys() == in_pid_namespace(runc.init(first)).keys()
    runc.end(second)  # before the namespace ends with its first process, which waits for all
    runc.end(first)
    for session in sessions:
        session.wait(TIMEOUT_S)


def test_supervisor_is_shown_and_no_member(runc: Runc, tree: ProcessTree) -> None:
    """The parent of init outside is the container's supervisor; here, the test itself."""
    name = runc.run("exec sleep 1000")
    found = tree_of(tree, name)
    assert found is not None and found.supervisor == os.getpid()
    assert os.getpid() not in by_pid(found)
    assert truth(found.container.pid) is not None


def test_close_ends_a_waiting_stream(tree: ProcessTree) -> None:
    """close() from another thread ends whoever waits for events, and leaves no fd."""
    begun, ended = threading.Event(), threading.Event()

    def follow() -> None:
        for event in tree.events():
            if isinstance(event, SyncEvent):
                begun.set()
        ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert begun.wait(TIMEOUT_S)
    tree.close()
    assert ended.wait(TIMEOUT_S)
    thread.join()
    tree.close()
    assert list(tree.events()) == []
