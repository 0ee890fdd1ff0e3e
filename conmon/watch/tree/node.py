"""The records that the tree is made of, and what the engine asks of the world outside."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from conmon.watch.tree.events import ContainerInfo


class Description(NamedTuple):
    """What only /proc knows of a process; None where it was gone already."""

    argv: tuple[str, ...] | None
    nspid: int | None
    start: int | None  # clock ticks since boot


class Look(Protocol):
    """How the engine looks at a process; the one thing that it does beside events."""

    def init_of(self, pid: int) -> int | None:
        """The init of the container whose namespaces or cgroup the process is in, or None."""

    def describe(self, pid: int) -> Description:
        """Command line, pid in its namespace, and start."""

    def alive(self, pid: int, mono_ns: int) -> bool:
        """True if the process that had this pid at that time lives."""


class Container:
    """A container that the tree knows: its init, and how many of its processes live.

    `own_pids`: it has a pid namespace that is not ours.
    """

    __slots__ = ("info", "init", "members", "own_pids")

    def __init__(self, info: ContainerInfo, init: Node, own_pids: bool) -> None:
        self.info = info
        self.init = init
        self.own_pids = own_pids
        self.members = 0


class Node:
    """One life of a pid.

    `born`: the time of the fork event, or the start that /proc says, rounded down to a tick; pid
    and this tell lives apart. `start`: what /proc says, once it was read. `seen`: when /proc was
    last read for it; what the kernel told of the time before is known.
    """

    __slots__ = (
        "argv",
        "born",
        "children",
        "container",
        "described",
        "died",
        "doomed",
        "doubtful",
        "forked_by",
        "leader_status",
        "looks",
        "pid",
        "ppid",
        "reparented",
        "seen",
        "start",
        "threads",
    )

    def __init__(self, pid: int, ppid: int, born: int, seen: int = 0) -> None:
        self.pid = pid
        self.ppid = ppid
        self.forked_by = ppid
        self.born = born
        self.seen = seen
        self.start: int | None = None  # clock ticks since boot
        self.died = 0
        self.container: Container | None = None
        self.children: dict[int, Node] | None = None
        self.threads: set[int] | None = None
        # The status of a leader that ended before its threads.
        self.leader_status: int | None = None
        # It executed while it had threads: its leader's exit may still be under way.
        self.doubtful = False
        # /proc knows it no more; its exit is under way to us.
        self.doomed = False
        # The parent ended; only /proc knows which subreaper it has now.
        self.reparented = False
        self.looks = 0
        self.argv: tuple[str, ...] | None = None
        # The life's own description; without one, argv is that of the parent.
        self.described: Description | None = None
