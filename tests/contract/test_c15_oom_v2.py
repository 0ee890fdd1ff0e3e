"""C15, C20.11: kills for memory as cgroup v2 counts them.

The kernel's part is played by the test: in a mount namespace of conmon's own, /sys/fs/cgroup is
cgroup v2, and over the container's cgroup in it lies a directory with a memory.events to write to.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Container
from harness_exec import as_podman_exec
from harness_proc import context_switches, settled

FILES = ("bundle/oom", "persist/oom")
NAMESPACE = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c"]
MOUNT = "set -e; mount -t cgroup2 none /sys/fs/cgroup; group=/sys/fs/cgroup/$1; events=$2; shift 2;"
ENTER = MOUNT + 'mkdir "$group"; echo $$ >"$group/cgroup.procs"; mount --bind "$events" "$group";'
ENTER += 'exec "$@"'
LEAVE = MOUNT + '[ ! -d "$group" ] || rmdir "$group"'

_number = itertools.count()


class Events:
    """A memory.events that the test writes: `wrapper` starts conmon where it is the container's."""

    def __init__(self, group: str, container: Container) -> None:
        self._directory = container.root / "run" / "events"
        self._directory.mkdir()
        container.allow("run/events/memory.events")
        self._file = self._directory / "memory.events"
        self.wrapper = [*NAMESPACE, ENTER, "sh", group, str(self._directory)]
        self.set()

    def set(self, oom_kill: int = 0, oom: int = 0, high: int = 0, most: int = 0) -> None:
        """Write all counters anew, in the kernel's order, as one change."""
        text = f"low 0\nhigh {high}\nmax {most}\noom {oom}\noom_kill {oom_kill}\noom_group_kill 0\n"
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, text.encode())
        os.close(fd)


@pytest.fixture(autouse=True)
def group() -> Iterator[str]:
    """The name of a cgroup that the container makes; it is removed when all is over."""
    tried = subprocess.run([*NAMESPACE, MOUNT, "sh", "-", "-"], capture_output=True, check=False)
    if os.getuid() != 0 or tried.returncode != 0:
        why = f"cgroup v2 cannot be mounted: {tried.stderr.decode()}"
        assert "CI" not in os.environ, why
        pytest.skip(why)
    group = f"conmon-test-{os.getpid()}-{next(_number)}"
    yield group
    subprocess.run([*NAMESPACE, LEAVE, "sh", group, "-"], check=True, timeout=30)


@pytest.fixture
def events(group: str, container: Container) -> Events:
    return Events(group, container)


def launch(container: Container, events: Events) -> None:
    container.fifo("go")
    container.command("read -r _ <go; exit 3")
    container.launch(wrapper=events.wrapper)
    container.started()
    settled(container.monitor.pid)


def end(container: Container) -> None:
    container.open_fifo(container.bundle / "go")
    assert container.end() == 3


def reported(container: Container) -> bool:
    """Whether there are oom files: both, or none."""
    found = [(container.root / name).exists() for name in FILES]
    assert found in ([True, True], [False, False])
    return all(found)


OLD = pytest.mark.ours("2.1.6 does not see it; 2.2.1 does")


@pytest.mark.ours("2.1.6 does not see it; 2.2.1 watches no more after the first change (C20.11)")
def test_kill_after_other_events(container: Container, events: Events) -> None:
    """C20.11: memory that is short does not end the watch: a later kill is reported at once."""
    container.allow(*FILES)
    launch(container, events)
    for number in range(1, 4):
        events.set(high=number, most=number)
        settled(container.monitor.pid)
    assert not reported(container)
    events.set(oom_kill=1, oom=1, high=3, most=3)
    for name in FILES:
        container.wait_name(container.root / name)
    end(container)


def test_shortage_without_a_kill(container: Container, events: Events) -> None:
    """C20.11: `oom` counts shortages; only `oom_kill` counts kills. 2.2.1 reports both."""
    launch(container, events)
    events.set(oom=5, most=9)
    settled(container.monitor.pid)
    end(container)
    assert not reported(container)


@pytest.mark.parametrize("session", [False, True], ids=["container", "exec session"])
def test_old_kills(container: Container, events: Events, session: bool) -> None:
    """C20.11: kills of before the start, or of before an exec session, are not this one's.

    2.2.1 reports them.
    """
    events.set(oom_kill=2, oom=2)
    if session:
        as_podman_exec(container)
    launch(container, events)
    events.set(oom_kill=2, oom=2, most=1)
    settled(container.monitor.pid)
    end(container)
    assert not reported(container)


@OLD
def test_second_kill(container: Container, events: Events) -> None:
    """C15: each kill is reported, however many there were."""
    container.allow(*FILES)
    launch(container, events)
    for number in (1, 2, 3):
        events.set(oom_kill=number, oom=number)
        for name in FILES:
            container.wait_name(container.root / name)
            (container.root / name).unlink()
    end(container)


@OLD
def test_kill_at_the_end(container: Container, events: Events) -> None:
    """C15, C17.1: a kill that nobody has heard of yet is looked for when the container ends."""
    container.allow(*FILES)
    container.fifo("go")
    path = container.root / "run" / "events" / "memory.events"
    # written over, not anew: the kernel's file is never empty
    container.command(f"read -r _ <go; printf 'oom_kill 1\\n' 1<>{path}; kill -KILL $$")
    container.launch(wrapper=events.wrapper)
    container.started()
    settled(container.monitor.pid)
    container.open_fifo(container.bundle / "go")
    assert container.end() == 137
    assert reported(container)


def test_silence(container: Container, events: Events) -> None:
    """C15: nothing happens, nothing is woken."""
    launch(container, events)
    before = settled(container.monitor.pid)
    time.sleep(0.3)  # the measurement: nothing may happen in it
    assert context_switches(container.monitor.pid) == before
    end(container)
    assert not reported(container)


def test_group_without_memory(container: Container, events: Events) -> None:
    """C15: without a memory controller there is no memory.events; that is no error."""
    Path(container.root / "run" / "events" / "memory.events").unlink()
    launch(container, events)
    end(container)
    assert not reported(container)
