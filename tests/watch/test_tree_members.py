"""Who is in which container: /proc, cgroups, namespaces, and the runtimes' states."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from conmon.host import procfs
from conmon.oci.monitors import monitor_of
from conmon.watch.tree.containers import RuntimeStates
from conmon.watch.tree.members import Members, own_cgroups
from conmon.watch.tree.procfs import MAX_ARGV, ProcFs

ID = "0123abcd"
HOST, INIT, OTHER, SESSION = 1, 10, 20, 30


class FakeProc:
    """A /proc of files, with a host process as `self`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fs = ProcFs(str(root))
        self.add(HOST, 0)
        (root / "self").symlink_to(str(HOST))

    def add(
        self,
        pid: int,
        ppid: int,
        *,
        pid_ns: int = 1,
        mnt_ns: int = 1,
        cgroups: Sequence[str] = ("/",),
        argv: Sequence[str] = ("x",),
        comm: str = "x",
    ) -> None:
        directory = self.root / str(pid)
        (directory / "ns").mkdir(parents=True)
        (directory / "ns" / "pid").symlink_to(f"pid:[{pid_ns}]")
        (directory / "ns" / "mnt").symlink_to(f"mnt:[{mnt_ns}]")
        lines = [f"{number}:name{number}:{path}\n" for number, path in enumerate(cgroups)]
        (directory / "cgroup").write_text("".join(lines))
        (directory / "cmdline").write_text("".join(f"{word}\0" for word in argv))
        numbers = " ".join(["0"] * 14 + ["7", "0", str(pid * 100)])
        (directory / "stat").write_text(f"{pid} ({comm}) S {ppid} 0 {numbers} 0 0\n")


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


def members(proc: FakeProc, *inits: tuple[int, str]) -> Members:
    """Members with these containers, of which nobody knows more."""
    living = {init for init, _ in inits}
    found = Members(proc.fs, lambda: None, living.__contains__)
    for init, name in inits:
        found.identify(init, name)
    return found


def test_stat_with_an_odd_name(proc: FakeProc) -> None:
    """A command name may hold brackets and blanks; what follows it is read all the same."""
    proc.add(5, 4, comm="a) Z 1 (b")
    stat = proc.fs.stat(5)
    assert stat is not None
    assert (stat.comm, stat.state, stat.ppid, stat.start) == ("a) Z 1 (b", "S", 4, 500)
    assert proc.fs.stat(6) is None


def test_long_argv_is_cut(proc: FakeProc) -> None:
    """Of a command line the first bytes are kept; bytes that are no text are shown."""
    proc.add(5, 1, argv=("prog", "x" * 10000))
    argv = proc.fs.argv(5)
    assert argv is not None and len("\0".join(argv)) == MAX_ARGV
    (proc.root / "5" / "cmdline").write_bytes(b"\xff\0\0")
    assert proc.fs.argv(5) == ("\\xff", "")


@pytest.mark.parametrize(
    ("path", "own"),
    [
        (f"/{ID}", f"/{ID}"),
        (f"/machine.slice/libpod-{ID}.scope/container", f"/machine.slice/libpod-{ID}.scope"),
        (f"/libpod_parent/libpod-{ID}", f"/libpod_parent/libpod-{ID}"),
        (f"/kubepods/pod1/crio-{ID}.scope", f"/kubepods/pod1/crio-{ID}.scope"),
        (f"/libpod_parent/libpod-{ID}/sub/group", f"/libpod_parent/libpod-{ID}"),
        ("/", None),
        (f"/x{ID}", None),
        (f"/{ID}x", None),
    ],
)
def test_cgroups_that_are_the_containers(path: str, own: str | None) -> None:
    """A cgroup is the container's when one of its directories is named after it."""
    assert own_cgroups([path], ID) == (frozenset() if own is None else {own})


def test_placed_by_mounts_pids_or_cgroup(proc: FakeProc) -> None:
    """A session shares any of these with the init; who shares none with any is outside."""
    proc.add(INIT, 1, pid_ns=2, mnt_ns=2, cgroups=[f"/libpod-{ID}"])
    proc.add(OTHER, 1, pid_ns=3, mnt_ns=3)
    found = members(proc, (INIT, ID), (OTHER, "other"))
    proc.add(30, 1, pid_ns=2, mnt_ns=2)
    proc.add(31, 1, pid_ns=9, mnt_ns=3)
    proc.add(32, 1, pid_ns=2, mnt_ns=9)
    proc.add(33, 1, pid_ns=9, mnt_ns=9, cgroups=["/", f"/libpod-{ID}/below"])
    proc.add(34, 1, pid_ns=9, mnt_ns=9)
    proc.add(35, 1)
    placed = [found.init_of(pid) for pid in (30, 31, 32, 33, 34, 35, 99)]
    assert placed == [INIT, OTHER, INIT, INIT, None, None, None]


def test_who_made_the_container_is_outside(proc: FakeProc) -> None:
    """A process with the container's mounts in our own pid namespace is no member, unless the
    container itself is in that namespace."""
    proc.add(INIT, 1, pid_ns=2, mnt_ns=2)
    proc.add(OTHER, 1, pid_ns=1, mnt_ns=3)
    found = members(proc, (INIT, ID), (OTHER, "other"))
    proc.add(30, 1, pid_ns=1, mnt_ns=2)
    proc.add(31, 1, pid_ns=1, mnt_ns=3)
    assert [found.init_of(pid) for pid in (30, 31)] == [None, OTHER]


def test_watcher_with_mounts_of_its_own(proc: FakeProc) -> None:
    """A container without namespaces has the host's, whatever those of the watcher are: the
    processes of the host are not in it."""
    watcher = 7
    proc.add(watcher, 1, mnt_ns=5)
    (proc.root / "self").unlink()
    (proc.root / "self").symlink_to(str(watcher))
    proc.add(INIT, 1)
    found = members(proc, (INIT, ID))
    proc.add(30, 1)
    assert [found.init_of(pid) for pid in (30, watcher)] == [None, None]
    assert not found.own_pids(INIT)


def test_shared_pid_namespace_is_no_answer(proc: FakeProc) -> None:
    """Where two containers share a pid namespace, mounts or cgroup decide, or nothing."""
    proc.add(INIT, 1, pid_ns=2, mnt_ns=2, cgroups=[f"/{ID}"])
    proc.add(OTHER, 1, pid_ns=2, mnt_ns=3)
    found = members(proc, (INIT, ID), (OTHER, "other"))
    proc.add(30, 1, pid_ns=2, mnt_ns=3)
    proc.add(31, 1, pid_ns=2, mnt_ns=9, cgroups=[f"/{ID}"])
    proc.add(32, 1, pid_ns=2, mnt_ns=9)
    assert [found.init_of(pid) for pid in (30, 31, 32)] == [OTHER, INIT, None]


def test_namespaces_of_a_container_that_is_over(proc: FakeProc) -> None:
    """The kernel gives the inodes of namespaces again: a dead container claims nobody, and a
    new one is looked for."""
    living = {INIT}
    looked: list[int] = []
    proc.add(INIT, 1, pid_ns=2, mnt_ns=2)
    proc.add(SESSION, 1, pid_ns=2, mnt_ns=2)
    found = Members(proc.fs, lambda: looked.append(1), living.__contains__)
    found.identify(INIT, ID)
    assert found.init_of(SESSION) == INIT and not looked
    living.clear()
    assert found.init_of(SESSION) is None and looked


@pytest.mark.parametrize("name", [("-n", "web"), ("--name", "web"), ("--name=web",)])
def test_name_from_the_monitor(proc: FakeProc, name: tuple[str, ...]) -> None:
    """The container's name is what its monitor was called with; a runtime may be in between."""
    monitor = ("/usr/bin/conmon", "-c", ID, *name, "-r", "runc", "--log-level", "debug")
    proc.add(40, 1, argv=monitor)
    proc.add(41, 40, argv=("runc", "create", ID))
    proc.add(INIT, 41)
    assert proc.fs.monitor_name(INIT, ID) == "web"
    proc.add(OTHER, 1)
    assert proc.fs.monitor_name(OTHER, ID) is None


def test_monitor_when_the_runtime_ends_meanwhile(
    proc: FakeProc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime ends while it is looked at: the container is the monitor's own child then."""
    proc.add(40, 1, argv=("/usr/bin/conmon", "-c", ID, "-n", "web", "-r", "runc"))
    proc.add(41, 40, argv=("runc", "create", ID))
    proc.add(INIT, 41)
    read = procfs.command_line

    def command_line(pid: int, root: str) -> list[str]:
        if pid == 41 and (proc.root / "41").exists():
            shutil.rmtree(proc.root / "41")
            shutil.rmtree(proc.root / str(INIT))
            proc.add(INIT, 40)
        return read(pid, root)

    monkeypatch.setattr(procfs, "command_line", command_line)
    pid, call = monitor_of(INIT, ID, str(proc.root))
    assert pid == 40 and call is not None and call.name == "web"


def test_no_monitor(proc: FakeProc) -> None:
    """Neither a process without parent, nor another container's, nor one that is gone has one."""
    proc.add(40, HOST, argv=("conmon", "-c", "other", "-n", "web", "-r", "runc"))
    proc.add(INIT, 40)
    for pid in (HOST, INIT, SESSION):
        assert monitor_of(pid, ID, str(proc.root)) == (0, None)


def state(root: Path, name: str, file: str, content: object) -> Path:
    path = root / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_states_of_all_runtimes(tmp_path: Path) -> None:
    """Pid, start and bundle of each runtime's states; what is no state is none."""
    runc = {
        "id": "a",
        "init_process_pid": 7,
        "init_process_start": 700,
        "config": {"labels": ["x=y", "bundle=/b/a"]},
        "cgroup_paths": {"pids": "/cg/a"},
    }
    state(tmp_path / "runc", "a", "state.json", runc)
    state(tmp_path / "runc", "half", "state.json", '{"init_process_pid": 7, "init')
    state(tmp_path / "runc", "list", "state.json", "[]")
    state(tmp_path / "runc", "stopped", "state.json", runc | {"init_process_pid": 0})
    crun = {"pid": 8, "process-start-time": 800, "bundle": "/b/c", "cgroup-path": "/cg/c"}
    state(tmp_path / "crun", "c", "status", crun)
    youki = {"ociVersion": "v1.0.2", "id": "y", "status": "running", "pid": os.getpid()}
    state(tmp_path / "youki", "y", "state.json", youki | {"bundle": "/b/y"})
    states = RuntimeStates([str(tmp_path / "*"), str(tmp_path / "nothing")])
    found = {info.id: info for info in states}
    assert found.keys() == {"a", "c", "y"}
    assert (found["a"].pid, found["a"].start, found["a"].bundle) == (7, 700, "/b/a")
    assert (found["c"].pid, found["c"].start, found["c"].bundle) == (8, 800, "/b/c")
    assert (found["y"].pid, found["y"].bundle) == (os.getpid(), "/b/y")
    assert found["y"].start == procfs.stat(os.getpid()).start
    assert [found[name].runtime for name in "acy"] == ["runc", "crun", "youki"]
    assert [found[name].cgroup for name in "acy"] == ["/cg/a", "/cg/c", None]


def test_states_that_change(tmp_path: Path) -> None:
    """A state that was rewritten is read again; one that is gone is no container."""
    crun = {"pid": 8, "process-start-time": 800, "bundle": "/b"}
    path = state(tmp_path, "c", "status", crun)
    states = RuntimeStates([str(tmp_path)])
    assert [info.pid for info in states] == [8]
    new = path.with_name("new")
    new.write_text(json.dumps(crun | {"pid": 9}))
    os.replace(new, path)
    assert [info.pid for info in states] == [9]
    path.unlink()
    assert list(states) == []
