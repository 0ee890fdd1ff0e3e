"""The live processes, who is below whom, and which container each is in."""

from __future__ import annotations

from collections.abc import Callable

from conmon.watch.tree.events import ContainerInfo, ForkEvent, TreeEvent
from conmon.watch.tree.node import Container, Description, Look, Node
from conmon.watch.tree.procfs import TICK_NS


class Forest:
    """Live processes by pid, and their containers by the host pid of their init.

    `emit` takes the events of members. What must be looked at, it asks `look`.
    """

    def __init__(self, look: Look, emit: Callable[[TreeEvent], None]) -> None:
        self.live: dict[int, Node] = {}
        self.containers: dict[int, Container] = {}
        self.emit = emit
        self._look = look

    # Places in the tree.

    def add(self, node: Node) -> None:
        """Take a live process in, below its parent."""
        self.live[node.pid] = node
        self.link(node)

    def link(self, node: Node) -> None:
        """Put a process below its parent."""
        parent = self.live.get(node.ppid)
        if parent is not None and parent is not node:
            if parent.children is None:
                parent.children = {}
            parent.children[node.pid] = node

    def unlink(self, node: Node) -> None:
        """Take a process from below its parent."""
        parent = self.live.get(node.ppid)
        if parent is not None and parent.children is not None:
            if parent.children.get(node.pid) is node:
                del parent.children[node.pid]
            if not parent.children:
                parent.children = None

    def adopt(self, child: Node, dead: Node) -> None:
        """Give the child of a dead process the parent that it most likely has now."""
        child.reparented = True
        container = dead.container
        if container is not None and container.init is not dead and not container.init.died:
            child.ppid = container.init.pid
        else:
            child.ppid = 1 if dead.pid != 1 else 0

    def reparented(self) -> list[Node]:
        """Members whose parent ended, and whose new one is a guess."""
        return [
            node for node in self.live.values() if node.reparented and node.container is not None
        ]

    def set_parent(self, node: Node, ppid: int) -> None:
        """Put a process below the parent that /proc says."""
        node.reparented = False
        self.unlink(node)
        node.ppid = ppid
        self.link(node)

    # Containers.

    def assign(self, node: Node, ts: int, *, synthetic: bool = False) -> None:
        """Look which container a process from outside is in."""
        init = self._look.init_of(node.pid)
        # The look may have found a new container, and this node in it.
        if init is not None and node.container is None and init in self.containers:
            self.join(node, self.containers[init], ts, synthetic=synthetic)

    def join(self, node: Node, container: Container, ts: int, *, synthetic: bool) -> None:
        """Make a process outside, and those below it, members."""
        outer = node.container
        stack = [node]
        while stack:
            node = stack.pop()
            if node.container is not outer:
                continue  # of a container inside this one
            if outer is not None:
                outer.members -= 1
            node.container = container
            self.count_in(container)
            told = self.describe(node) if synthetic else Description(None, None, None)
            self.emit(
                ForkEvent(
                    container.info.id,
                    node.pid,
                    node.ppid,
                    max(ts, node.born),
                    told.nspid,
                    told.start,
                    told.argv,
                    synthetic,
                )
            )
            if node.children is not None:
                stack.extend(node.children.values())
        if outer is not None:
            self.drop_if_over(outer)

    def describe(self, node: Node, argv: tuple[str, ...] | None = None) -> Description:
        """Ask what /proc says of a process now, and remember it; `argv` if it is known."""
        told = self._look.describe(node.pid)
        if argv is not None:
            told = told._replace(argv=argv)
        if told.argv is not None or node.described is None:
            node.described = told
            node.argv = told.argv or node.argv
        return told

    def add_container(
        self, info: ContainerInfo, init_born: int, ts: int, *, own_pids: bool = True
    ) -> bool:
        """Take a container in: its init, and all below it.

        `init_born`: start of its init as /proc has it, in ns. False when that life of the pid is
        not known (yet). `own_pids`: it has a pid namespace that is not ours.
        """
        init = self.live.get(info.pid)
        known = self.containers.get(info.pid)
        if init is None or init_born > init.born + TICK_NS:
            return False
        if known is not None and known.init is init:
            known.info = info
            return True
        if known is not None:
            del self.containers[info.pid]
        container = Container(info, init, own_pids)
        self.containers[info.pid] = container
        self.join(init, container, ts, synthetic=True)
        return True

    def assign_all(self, ts: int) -> None:
        """Look at every process outside: exec sessions that came before the container was known.

        Those that share nothing with a container stay outside. A session that was taken for
        another container's, by the pid namespace that the containers of a pod share, is given
        to its own.
        """
        for node in list(self.live.values()):
            if node.container is None:
                self.assign(node, ts, synthetic=True)
            elif self._came_from_outside(node):
                init = self._look.init_of(node.pid)
                own = None if init is None else self.containers.get(init)
                if own is not None and own is not node.container:
                    self.join(node, own, ts, synthetic=True)

    def _came_from_outside(self, node: Node) -> bool:
        """Whether a member is the first process of an exec session."""
        parent = self.live.get(node.ppid)
        outside = parent is None or parent.container is not node.container
        return outside and node.container is not None and node.container.init is not node

    def count_in(self, container: Container) -> None:
        """A container has a member more."""
        container.members += 1
        # A late child may live on in a container that seemed over.
        self.containers.setdefault(container.init.pid, container)

    def drop_if_over(self, container: Container) -> None:
        """Forget a container whose last member is gone."""
        over = container.init.died and not container.members
        if over and self.containers.get(container.init.pid) is container:
            del self.containers[container.init.pid]
