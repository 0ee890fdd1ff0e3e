"""C15: what the kernel killed for memory, on cgroup v1."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest
from harness import Container, Pipes
from harness_cgroup import LIMIT, MOUNT, MemoryCgroup
from harness_exec import as_podman_exec
from harness_os import Event
from harness_proc import context_switches, settled
from harness_rooms import CID
from harness_syslog import Syslog

HOG = "tail /dev/zero"  # keeps all that it reads: it has no newline
FILES = ("bundle/oom", "persist/oom")


@pytest.fixture
def cgroup(container: Container) -> MemoryCgroup:
    return MemoryCgroup(container)


def reported(container: Container) -> bool:
    """Whether there are oom files: both, empty, mode 0644; or none."""
    paths = [container.root / name for name in FILES]
    found = [path.exists() for path in paths]
    assert found in ([True, True], [False, False])
    for path in paths:
        if path.exists():
            assert path.read_bytes() == b""
            assert path.stat().st_mode & 0o777 == 0o644
    return all(found)


def create(container: Container, command: str, *extra: str, **settings: Any) -> None:
    """A container that was created: its command waits for `start`, as under a real runtime."""
    container.command(command)
    container.fifo("start")
    container.launch(*extra, cwd=container.bundle, **settings)
    container.started()


def start(container: Container) -> None:
    """What a caller does that knows the pid: the runtime's start."""
    container.open_fifo(container.bundle / "start")


def run(container: Container, command: str) -> int:
    """A container from its creation to its end: the status in the exit file."""
    create(container, command)
    start(container)
    return container.end()


def kill_one(cgroup: MemoryCgroup) -> None:
    """Something in the cgroup is killed for memory, before there is a container."""
    join = f'echo $$ >"{cgroup.path}/cgroup.procs"; exec {HOG}'
    assert subprocess.run(["/bin/sh", "-c", join], timeout=30, check=False).returncode == -9
    cgroup.wait_count("oom_kill")


def test_init_killed(container: Container, cgroup: MemoryCgroup) -> None:
    """C15: the container process itself is killed: 137, and the oom files are there."""
    container.allow(*FILES)
    assert run(container, f"exec {HOG}") == 137
    assert reported(container)


def test_files_precede_the_exit_files(container: Container, cgroup: MemoryCgroup) -> None:
    """C15, C17.1: who sees the exit file sees the oom files, too."""
    container.allow(*FILES)
    create(container, f"exec {HOG}")
    start(container)
    last = Event("MOVED_TO", "exits", CID)
    container.wait_until(lambda: last in container.events, "exit file")
    names = [(event.directory, event.name) for event in container.events]
    for directory in ("bundle", "persist"):
        assert names.index((directory, "oom")) < names.index(("persist", "exit"))
    assert container.end() == 137


def test_shell_survives(container: Container, cgroup: MemoryCgroup) -> None:
    """C15: another process of the container is killed: reported at once, while it goes on."""
    container.allow(*FILES)
    container.fifo("go")
    create(container, f"{HOG}; read -r _ <go; exit 3")
    start(container)
    for directory in ("bundle", "persist"):
        container.wait_name(container.root / directory / "oom")
    assert not container.exit_file.exists()
    container.open_fifo(container.bundle / "go")
    assert container.end() == 3
    assert reported(container)


@pytest.mark.ours("it waits for the fifo's reader for ever, and makes what the link leads to")
def test_other_files_of_the_name(container: Container, cgroup: MemoryCgroup) -> None:
    """C15: a fifo of this name is not waited for, a symlink not followed; both are reported."""
    container.allow(*FILES)
    fifo, link = container.persist_exit.parent / "oom", container.bundle / "oom"
    os.mkfifo(fifo)
    target = container.root / "tmp" / "target"
    link.symlink_to(target)
    syslog = Syslog(container)
    create(container, f"exec {HOG}", "--syslog", wrapper=syslog.wrapper)
    start(container)
    assert container.end() == 137
    for path, reason in (
        (fifo, "No such device or address"),
        (link, "Too many levels of symbolic"),
    ):
        assert f"Failed to write the oom file {path}: {reason}".encode() in syslog.next().text
    assert not target.exists()


def test_late(container: Container, cgroup: MemoryCgroup) -> None:
    """C15: the watch lasts as long as the container; a second kill is heard as the first."""
    container.allow(*FILES)
    container.fifo("go")
    create(container, f"{HOG}; read -r _ <go; {HOG}; read -r _ <go; exit 4")
    start(container)
    for directory in ("bundle", "persist"):
        path = container.root / directory / "oom"
        container.wait_name(path)
        path.unlink()
    container.open_fifo(container.bundle / "go")
    for directory in ("bundle", "persist"):
        container.wait_name(container.root / directory / "oom")
    container.open_fifo(container.bundle / "go")
    assert container.end() == 4


def test_exec_session(container: Container, cgroup: MemoryCgroup) -> None:
    """C15, D1: a session in which something is killed says so in its own directories."""
    as_podman_exec(container)
    container.allow(*FILES)
    container.fifo("go")
    container.command(f"read -r _ <go; exec {HOG}")
    container.launch(cwd=container.bundle)
    container.started()
    cgroup.wait_watched(container.monitor.pid)
    container.open_fifo(container.bundle / "go")
    assert container.report() == {"data": 137}
    assert container.end() == 137
    assert reported(container)


def test_nothing_happened(container: Container, cgroup: MemoryCgroup) -> None:
    """C15: no kill, no oom files; nor by a SIGKILL from elsewhere."""
    assert run(container, "kill -KILL $$") == 137
    assert not reported(container)


def test_limit_reached_by_files(container: Container, cgroup: MemoryCgroup) -> None:
    """C15: a full page cache is given back: memory was short, nobody was killed."""
    assert run(container, "head -c 60m /dev/zero >big; rm big; exit 0") == 0
    assert int((cgroup.path / "memory.max_usage_in_bytes").read_text()) > LIMIT * 0.9
    assert not reported(container)


@pytest.mark.ours("it takes every notification for a kill")
def test_limit_reached_without_a_kill(container: Container, cgroup: MemoryCgroup) -> None:
    """C15, C20.11: memory ran out, and more was given in time: nobody was killed."""
    container.fifo("go")
    # in user space: a system call would fail where a process has to wait
    hog = f"{sys.executable} -ISE -c 'print(len(b\"x\" * 40_000_000))'"
    container.command(f"{hog}; read -r _ <go; exit 5")
    (cgroup.path / "memory.oom_control").write_text("1")  # who needs memory waits
    container.launch(cwd=container.bundle)
    container.started()
    cgroup.wait_count("under_oom")
    (cgroup.path / "memory.limit_in_bytes").write_text(str(LIMIT * 20))
    container.wait_log(b"40000000\n")
    assert cgroup.counts()["oom_kill"] == 0
    settled(container.monitor.pid)
    container.open_fifo(container.bundle / "go")
    assert container.end() == 5
    assert not reported(container)


def test_kill_of_an_earlier_container(container: Container, cgroup: MemoryCgroup) -> None:
    """C15, C20.11: what was counted in the cgroup before this container is not this one's."""
    kill_one(cgroup)
    assert run(container, "exit 0") == 0
    assert not reported(container)


def test_kill_after_that_of_an_earlier_container(
    container: Container, cgroup: MemoryCgroup
) -> None:
    """C15: a kill is reported whatever was counted before."""
    kill_one(cgroup)
    container.allow(*FILES)
    assert run(container, f"exec {HOG}") == 137
    assert reported(container)


@pytest.mark.ours("it looks for the first time when its caller knows the pid already")
def test_kill_at_once(container: Container, cgroup: MemoryCgroup) -> None:
    """C15: what is killed as soon as a caller can start it is reported: kills are counted then."""
    container.allow(*FILES)
    container.command(f"exec {HOG}")
    container.fifo("start")
    fill = 'head -c 65536 /dev/zero >"/proc/self/fd/$_OCI_SYNCPIPE"; exec "$@"'
    wrapper = ["/bin/sh", "-c", fill, "sh"]
    container.launch(wrapper=wrapper, cwd=container.bundle, pipes=Pipes.PIPE)
    cgroup.wait_watched(container.monitor.pid)  # while the pipe has no room for the pid
    assert container.message() == bytes(65536)
    container.started()
    start(container)
    assert container.end() == 137
    assert reported(container)


def test_cgroup_removed(container: Container, cgroup: MemoryCgroup) -> None:
    """C15: a cgroup that goes before the container is no kill, no error, and no busy loop."""
    container.fifo("go")
    container.command("read -r _ <go; exit 6")
    container.launch(cwd=container.bundle)
    pid = container.started()
    cgroup.take_out(pid)
    cgroup.remove()
    cgroup.wait_watched(container.monitor.pid, watched=container.peer)  # it hears of that later
    before = settled(container.monitor.pid)
    time.sleep(0.3)  # the measurement: nothing may happen in it
    assert context_switches(container.monitor.pid) == before
    container.open_fifo(container.bundle / "go")
    assert container.end() == 6
    assert not reported(container)


@pytest.mark.ours("it exits and leaves the container alone")
def test_no_memory_controller(container: Container, cgroup: MemoryCgroup) -> None:
    """C15: where memory is not counted a container lives and ends as elsewhere."""
    (container.bundle / "cgroup").unlink()
    hide = f'umount -l {MOUNT} && exec "$@"'
    private = ["unshare", "--mount", "--propagation", "private"]
    container.command("exit 7")
    assert container.run(wrapper=[*private, "/bin/sh", "-c", hide, "sh"]) == 7
    assert not reported(container)


def test_no_file_can_be_written(container: Container, cgroup: MemoryCgroup) -> None:
    """C15: an oom file that cannot be written keeps no exit file from being written."""
    (container.bundle / "oom").mkdir()
    (container.root / "persist" / "oom").mkdir()
    assert run(container, f"exec {HOG}") == 137
    assert os.listdir(container.bundle / "oom") == []
