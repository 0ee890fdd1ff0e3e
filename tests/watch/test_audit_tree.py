"""The tree from the kernel's audit. Each test leaves audit's settings and rules as they were.

Short on purpose: without an audit daemon each record also goes to the kernel's log.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Guard
from harness_os import TIMEOUT_S
from harness_tree import Runc, below, by_pid, in_pid_namespace, running, tree_of, until, wait_tree

from conmon.watch import ProcessTree
from conmon.watch.sources.audit_control import AuditControl
from conmon.watch.tree.events import ContainerInfo, ExecEvent, ExitEvent, ForkEvent, LostEvent

FAILING_SPAWNS = """
import subprocess, sys
sys.stdin.readline()
for _ in range(20):
    try:
        subprocess.Popen(["/nonexistent"])
    except FileNotFoundError:
        pass
print("done", flush=True)
sys.stdin.readline()
"""
FORKS = """
import os, sys
sys.stdin.readline()
for _ in range(300):
    pid = os.fork()
    pid or os._exit(0)
    os.waitpid(pid, 0)
os.fork()
os.write(1, b"done\\n")
sys.stdin.readline()
"""
HOLD = "import sys; from conmon.watch import ProcessTree; ProcessTree('audit'); "


@pytest.fixture
def alone() -> Iterator[None]:
    """One at a time on the whole machine, as there is one audit for all. Leaves no file."""
    fd = os.open("/dev", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield
    os.close(fd)


@pytest.fixture
def audit(alone: None) -> Iterator[AuditControl]:
    """Audit as it is. What a test leaves changed is an error, and put back all the same."""
    try:
        control = AuditControl()
        before, rules = control.status(), control.rules()
        usable = before.enabled != 2
    except OSError as error:
        usable, why = False, str(error)
    else:
        why = "audit is locked until the reboot"
    if not usable:
        assert "CI" not in os.environ, why
        pytest.skip(f"no audit here: {why}")
    try:
        yield control
        after = control.status()
        assert control.rules() == rules
        assert (after.enabled, after.backlog_limit, after.daemon) == (
            before.enabled,
            before.backlog_limit,
            before.daemon,
        )
    finally:
        for rule in control.rules():
            if rule not in rules:
                control.delete_rule(rule)
        control.set_enabled(before.enabled)
        control.set_backlog_limit(before.backlog_limit)
        control.close()


@pytest.fixture
def runc(tmp_path: Path, guard: Guard) -> Iterator[Runc]:
    runc = Runc(tmp_path)
    try:
        yield runc
    finally:
        runc.close()


def test_tree_from_audit_equals_proc(audit: AuditControl, runc: Runc) -> None:
    """A container's tree, an orphan and an exec session in it, is that of its pid namespace."""
    with ProcessTree("audit", state_roots=[str(runc.root)]) as tree:
        name = runc.run('sleep 1000 & (sh -c "sleep 1001 & exit 0"); (sleep 1002; true) & wait')
        session = runc.exec(name, "sleep 1003; true")
        wait_tree(
            tree, name, lambda p: running(p, *(f"sleep {n}" for n in (1000, 1001, 1002, 1003)))
        )
        found = by_pid(tree_of(tree, name))
        expected = in_pid_namespace(runc.init(name))
        assert {p.pid: (p.ppid, p.nspid) for p in found.values()} == {
            p.pid: (p.ppid, p.nspid) for p in expected.values()
        }
        assert tree.stats().source == "audit"
    runc.delete(name)
    session.wait(TIMEOUT_S)


def test_events_from_audit(audit: AuditControl, runc: Runc) -> None:
    """Exec with the arguments of the record itself, exit with its code, in order."""
    with ProcessTree("audit", state_roots=[str(runc.root)]) as tree:
        name = runc.run("sleep 1000; true")
        wait_tree(tree, name, lambda p: running(p, "sleep 1000"))
        with tree.events(timeout=TIMEOUT_S, initial=False) as events:
            session = runc.exec(name, "sleep 1001; true 'two words'; exit 7")
            # It must live until its records have come, however late they are.
            found = wait_tree(tree, name, lambda p: running(p, "sleep 1001"), watch=False)
            os.kill(next(p.pid for p in found.values() if p.argv == ("sleep", "1001")), 9)
            seen = until(events, lambda e: isinstance(e, ExitEvent) and e.code == 7)
        assert session.wait(TIMEOUT_S) == 7
    last = seen[-1]
    assert isinstance(last, ExitEvent)
    mine = [e for e in seen if isinstance(e, ExecEvent) and e.pid == last.pid]
    assert mine[-1].argv == ("sh", "-c", "sleep 1001; true 'two words'; exit 7")


def box(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_vforked_children(audit: AuditControl, guard: Guard) -> None:
    """Children of vfork that cannot execute: their exits come before their forks, and all of
    them are told, fork first."""
    with ProcessTree("audit", state_roots=[]) as tree:
        process = box(FAILING_SPAWNS)
        assert process.stdin and process.stdout
        tree.add_container(ContainerInfo("box", process.pid))
        with tree.events(timeout=TIMEOUT_S, initial=False) as events:
            process.stdin.write(b"\n")
            process.stdin.flush()
            ends: list[int] = []
            forks: set[int] = set()
            for event in events:
                if isinstance(event, ForkEvent):
                    forks.add(event.pid)
                elif isinstance(event, ExitEvent):
                    # subprocess's own code, or from Python 3.13 on glibc's
                    assert event.pid in forks and event.code in (255, 127)
                    ends.append(event.pid)
                    if len(ends) == 20:
                        break
        assert len(ends) == 20
        assert by_pid(tree_of(tree, "box")).keys() == {process.pid}
        process.kill()
        process.communicate(timeout=TIMEOUT_S)


def test_death_by_signal(audit: AuditControl, guard: Guard) -> None:
    """Audit does not tell of it; /proc does, and the event says that it is from there."""
    with ProcessTree("audit", state_roots=[]) as tree:
        process = box("import sys; sys.stdin.readline()")
        tree.add_container(ContainerInfo("box", process.pid))
        with tree.events(timeout=TIMEOUT_S, initial=False) as events:
            process.kill()
            process.communicate(timeout=TIMEOUT_S)
            end = until(events, lambda e: isinstance(e, ExitEvent))[-1]
    assert isinstance(end, ExitEvent)
    assert (end.pid, end.synthetic, end.code) == (process.pid, True, None)


def test_loss_in_audit(audit: AuditControl, guard: Guard) -> None:
    """With a tiny buffer events are lost: it is told, counted, and the tree becomes /proc's."""
    with ProcessTree("audit", state_roots=[], receive_buffer=2048) as tree:
        process = box(FORKS)
        assert process.stdin and process.stdout
        tree.add_container(ContainerInfo("box", process.pid))
        with tree.events(timeout=TIMEOUT_S, initial=False) as events:
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == process.stdout.readline() == b"done\n"
            until(events, lambda e: isinstance(e, LostEvent) and bool(e.count))
        expected = below(process.pid).keys()
        assert len(expected) == 2
        # more may have been lost after that, which nobody knows yet
        found = wait_tree(tree, "box", lambda now: now.keys() == expected)
        assert tree.stats().lost > 0
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=TIMEOUT_S)


def test_rules_of_a_killed_tree_are_removed(audit: AuditControl, guard: Guard) -> None:
    """Who is killed leaves a rule, and audit on; the next tree sees to both."""
    before = audit.rules()
    process = box(HOLD + "print('on', flush=True); sys.stdin.readline()")
    assert process.stdout and process.stdout.readline() == b"on\n"
    assert len(audit.rules()) == len(before) + 1
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    assert len(audit.rules()) == len(before) + 1
    ProcessTree("audit", state_roots=[]).close()
    assert audit.rules() == before


def test_two_trees_at_once(audit: AuditControl, guard: Guard) -> None:
    """The first that closes does not switch audit off for the other."""
    enabled = audit.status().enabled
    process = box(HOLD + "print('on', flush=True); sys.stdin.readline()")
    assert process.stdin and process.stdout and process.stdout.readline() == b"on\n"
    with ProcessTree("audit", state_roots=[]):
        process.stdin.close()
        process.wait(TIMEOUT_S)
        assert audit.status().enabled == 1
    process.stdout.close()
    assert audit.status().enabled == enabled
