"""Which container a process is in, by what the kernel keeps it in.

Ancestry is the engine's; this is for who comes from outside: an exec session is a child of the
runtime that was told to start it, not of the container's init. It shares the init's cgroup, and
its namespaces (namespaces(7)).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from conmon.watch.tree.node import Description
from conmon.watch.tree.procfs import ProcFs


class Identity(NamedTuple):
    """What a container's init is in. `cgroups`: those paths that name the container."""

    pid_ns: str | None
    mnt_ns: str | None
    cgroups: frozenset[str]


def own_cgroups(paths: Iterable[str], container_id: str) -> frozenset[str]:
    """Of an init's cgroups, those that are its container's alone, cut off below the container.

    Without a cgroup of its own the container is in that of its monitor, with half the host. What
    all cgroup managers have in common is a directory named after the container's id: `ID`,
    `libpod-ID`, `crio-ID.scope`, `docker-ID.scope`.
    """
    found = set()
    for path in paths:
        parts = path.split("/")
        for depth, part in enumerate(parts):
            if f"-{part.removesuffix('.scope')}".endswith(f"-{container_id}"):
                found.add("/".join(parts[: depth + 1]))
                break
    return frozenset(found)


def _of_host(procfs: ProcFs, kind: str) -> str | None:
    """The namespace of the host's first process; our own where we may not look at that."""
    return procfs.namespace(1, kind) or procfs.namespace("self", kind)


class Members:
    """Finds the container of a process. Containers are known by the host pid of their init.

    `discover` is called when a process is in namespaces of nobody known: a container may be new.
    `lives`: if there is a container of this init still; the kernel gives the inodes of its
    namespaces to others when it is over.
    """

    def __init__(
        self, procfs: ProcFs, discover: Callable[[], object], lives: Callable[[int], bool]
    ) -> None:
        self._procfs = procfs
        self._discover = discover
        self._lives = lives
        # Those of the host. Who watches may have mounts of its own (a service with PrivateTmp=).
        self._host_pid_ns = _of_host(procfs, "pid")
        self._host_mnt_ns = _of_host(procfs, "mnt")
        self._known: dict[int, Identity] = {}
        self._by_pid_ns: dict[str, list[int]] = {}
        self._by_mnt_ns: dict[str, list[int]] = {}
        self._by_cgroup: dict[str, int] = {}

    def identify(self, pid: int, container_id: str) -> None:
        """Remember the container of this init; forget those that are over."""
        procfs = self._procfs
        self._known = {pid: known for pid, known in self._known.items() if self._lives(pid)}
        cgroups = own_cgroups(procfs.cgroups(pid), container_id)
        self._known[pid] = Identity(
            procfs.namespace(pid, "pid"), procfs.namespace(pid, "mnt"), cgroups
        )
        self._index()

    def own_pids(self, pid: int) -> bool:
        """True if the container of this init has a pid namespace that is not the host's."""
        return self._known[pid].pid_ns not in (None, self._host_pid_ns)

    def _index(self) -> None:
        self._by_pid_ns, self._by_mnt_ns, self._by_cgroup = {}, {}, {}
        for pid, known in self._known.items():
            # The namespaces of the host name no container.
            if known.pid_ns not in (None, self._host_pid_ns):
                self._by_pid_ns.setdefault(known.pid_ns, []).append(pid)
            if known.mnt_ns not in (None, self._host_mnt_ns):
                self._by_mnt_ns.setdefault(known.mnt_ns, []).append(pid)
            for path in known.cgroups:
                self._by_cgroup[path] = pid

    def init_of(self, pid: int) -> int | None:
        """The init of the container that a process is in, or None."""
        pid_ns = self._procfs.namespace(pid, "pid")
        mnt_ns = self._procfs.namespace(pid, "mnt")
        if pid_ns is None or mnt_ns is None:
            return None
        if pid_ns == self._host_pid_ns and mnt_ns == self._host_mnt_ns:
            return None
        found = self._match(pid, pid_ns, mnt_ns)
        if found is None:
            self._discover()
            found = self._match(pid, pid_ns, mnt_ns)
        return found

    def _match(self, pid: int, pid_ns: str, mnt_ns: str) -> int | None:
        # The containers of a pod may share a pid namespace; each has its own mounts. Who has the
        # mounts but is in the host's pid namespace made the container (unshare, bwrap), or looks
        # into it.
        by_mounts = [
            init
            for init in self._by_mnt_ns.get(mnt_ns, ())
            if pid_ns == self._known[init].pid_ns or pid_ns != self._host_pid_ns
        ]
        for candidates in (by_mounts, self._by_pid_ns.get(pid_ns, [])):
            living = [init for init in candidates if self._lives(init)]
            if len(living) == 1:
                return living[0]
        if not self._by_cgroup:
            return None
        for own in self._procfs.cgroups(pid):
            path = own
            while path:
                init = self._by_cgroup.get(path)
                if init is not None and self._lives(init):
                    return init
                path = path.rpartition("/")[0]
        return None


class ProcLook:
    """How the engine of a real tree looks at processes."""

    def __init__(self, procfs: ProcFs, members: Members) -> None:
        self._procfs = procfs
        self.init_of = members.init_of

    def describe(self, pid: int) -> Description:
        """Command line, pid in its namespace, and start."""
        stat = self._procfs.stat(pid)
        start = stat.start if stat is not None else None
        return Description(self._procfs.argv(pid), self._procfs.nspid(pid), start)

    def alive(self, pid: int, mono_ns: int) -> bool:
        """True if the process that had this pid at that time lives."""
        return self._procfs.alive(pid, mono_ns)
