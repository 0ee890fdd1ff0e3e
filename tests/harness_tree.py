"""Containers of real runtimes for the tests of process trees, and what /proc says of them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness_os import TIMEOUT_S, Deadline

from conmon.watch import ProcessTree
from conmon.watch.tree.events import ContainerTree, ProcessInfo, TreeEvent

_numbers = itertools.count(1)
_APPLETS = ("sh", "sleep", "true", "cat", "kill", "setsid")


class Runc:
    """Containers of one runc state directory; all are deleted at the end."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "state"
        self._directory = directory
        self._names: list[str] = []
        busybox = shutil.which("busybox")
        assert busybox, "busybox is not installed (package busybox-static)"
        binaries = directory / "rootfs" / "bin"
        for name in ("dev", "proc", "bin"):
            (directory / "rootfs" / name).mkdir(parents=True)
        shutil.copy(busybox, binaries / "busybox")
        for applet in _APPLETS:
            (binaries / applet).symlink_to("busybox")

    def bundle(self, command: str, namespaces: list[dict[str, str]] | None = None) -> Path:
        """A bundle whose container runs a shell with `command`."""
        path = self._directory / f"bundle{next(_numbers)}"
        path.mkdir()
        if namespaces is None:
            namespaces = [{"type": "pid"}, {"type": "mount"}]
        config: dict[str, Any] = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["sh", "-c", command],
                "env": ["PATH=/bin"],
                "cwd": "/",
            },
            "root": {"path": str(self._directory / "rootfs"), "readonly": True},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"namespaces": namespaces},
        }
        (path / "config.json").write_text(json.dumps(config))
        return path

    def _call(self, *words: str) -> list[str]:
        return ["runc", "--root", str(self.root), *words]

    def run(self, command: str, namespaces: list[dict[str, str]] | None = None) -> str:
        """Start a container and return its id; its command has begun."""
        name = f"conmon-tree-{os.getpid()}-{next(_numbers)}"
        bundle = self.bundle(command, namespaces)
        self._names.append(name)
        # Not pipes: the container would keep them open.
        log = self._directory / f"{name}.out"
        with log.open("wb") as out:
            done = subprocess.run(
                self._call("run", "--detach", "--bundle", str(bundle), name),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                check=False,
                timeout=TIMEOUT_S,
            )
        assert done.returncode == 0, log.read_text()
        return name

    def exec(self, name: str, command: str) -> subprocess.Popen[bytes]:
        """Begin an exec session that runs a shell with `command`."""
        return subprocess.Popen(
            self._call("exec", name, "sh", "-c", command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def init(self, name: str) -> int:
        """Host pid of a container's init."""
        state = json.loads((self.root / name / "state.json").read_bytes())
        return int(state["init_process_pid"])

    def end(self, name: str) -> None:
        """Kill the init, which the guard has made our child, and reap it."""
        init = self.init(name)
        os.kill(init, signal.SIGKILL)
        os.waitpid(init, 0)

    def delete(self, name: str) -> None:
        """End a container, with all its processes."""
        subprocess.run(
            self._call("delete", "--force", name),
            capture_output=True,
            check=False,
            timeout=TIMEOUT_S,
        )

    def close(self) -> None:
        for name in self._names:
            self.delete(name)


@dataclass(frozen=True)
class Truth:
    """A process as /proc has it, read by the test itself."""

    pid: int
    ppid: int
    nspid: int
    threads: int


def truth(pid: int) -> Truth | None:
    """The process, or None for one that is gone or a zombie without threads."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    threads = int(fields["Threads"])
    if fields["State"].split()[0] in "ZX" and threads <= 1:
        return None
    return Truth(pid, int(fields["PPid"]), int(fields["NSpid"].split()[-1]), threads)


def everybody() -> dict[int, Truth]:
    """All live processes of the host."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return {pid: found for pid in pids if (found := truth(pid)) is not None}


def in_pid_namespace(init: int) -> dict[int, Truth]:
    """The live processes in the pid namespace of `init`: what ps shows in there."""
    space = os.readlink(f"/proc/{init}/ns/pid")
    found = {}
    for pid, process in everybody().items():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/pid") == space:
                found[pid] = process
    return found


def below(pid: int) -> dict[int, Truth]:
    """A live process and its live descendants."""
    processes = everybody()
    found: dict[int, Truth] = {}
    generation = {pid}
    while generation:
        found |= {pid: processes[pid] for pid in generation if pid in processes}
        generation = {one.pid for one in processes.values() if one.ppid in generation}
    return found


def tree_of(tree: ProcessTree, name: str) -> ContainerTree | None:
    """The container of that name in a snapshot."""
    return next((one for one in tree.snapshot() if one.container.id == name), None)


def by_pid(tree: ContainerTree | None) -> dict[int, ProcessInfo]:
    return {one.pid: one for one in tree.processes} if tree is not None else {}


def wait_tree(
    tree: ProcessTree,
    name: str,
    condition: Callable[[dict[int, ProcessInfo]], bool],
    *,
    watch: bool = True,
) -> dict[int, ProcessInfo]:
    """Follow a container until a condition on its processes holds; the processes.

    `watch`: wait for events in between; there must be no stream of them then.
    """
    deadline = Deadline()
    while True:
        found = by_pid(tree_of(tree, name))
        if condition(found):
            return found
        assert not deadline.passed(), f"{name} stays {found}"
        if watch:
            with tree.events(timeout=0.1, initial=False) as events:
                next(events, None)
        else:
            os.sched_yield()


def words(process: ProcessInfo) -> str:
    return " ".join(process.argv or ())


def running(found: dict[int, ProcessInfo], *commands: str) -> bool:
    """True if each of the commands runs exactly once."""
    told = [words(process) for process in found.values()]
    return all(told.count(command) == 1 for command in commands)


def until(events: Iterator[TreeEvent], last: Callable[[TreeEvent], bool]) -> list[TreeEvent]:
    """The events up to the one that is awaited, which is the last of the list."""
    found = []
    for event in events:
        found.append(event)
        if last(event):
            return found
    raise AssertionError(f"it never came; only {found}")


def socket_drops(fd: int) -> int:
    """Messages that the kernel could not give to a netlink socket, by its own count."""
    inode = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/self/fd/{fd}"))
    assert inode
    for line in Path("/proc/net/netlink").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[-1] == inode[1]:
            return int(fields[-2])
    raise AssertionError(f"no netlink socket {inode[1]}")
