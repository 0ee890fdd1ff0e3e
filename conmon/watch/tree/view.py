"""What is shown of the tree: snapshots, and the initial replay."""

from __future__ import annotations

from collections.abc import Iterator

from conmon.watch.tree.engine import TreeEngine
from conmon.watch.tree.events import ContainerTree, ForkEvent, ProcessInfo
from conmon.watch.tree.node import Container, Description, Look, Node


def members(engine: TreeEngine) -> dict[Container, list[tuple[Node, int, bool]]]:
    """The nodes of each container, parents before children: node, depth, if it came from outside.

    Processes that ended before /proc was last read, with their exit still under way, are left
    out.
    """
    found: dict[Container, list[tuple[Node, int, bool]]] = {
        container: [] for container in engine.containers.values()
    }
    for top in engine.live.values():
        container = top.container
        parent = engine.live.get(top.ppid)
        if container is None or (parent is not None and parent.container is container):
            continue
        stack = [(top, 0)]
        while stack:
            node, depth = stack.pop()
            if not node.doomed:
                found.setdefault(container, []).append((node, depth, depth == 0))
            below = sorted((node.children or {}).values(), key=_by_birth, reverse=True)
            stack.extend((child, depth + 1) for child in below if child.container is container)
    for nodes in found.values():
        _init_first(nodes)
    return found


def _by_birth(node: Node) -> tuple[int, int]:
    return node.born, node.pid


def _init_first(nodes: list[tuple[Node, int, bool]]) -> None:
    """Order the sessions by birth; the init is the first process of its container."""
    sessions: list[list[tuple[Node, int, bool]]] = []
    for entry in nodes:
        if entry[1] == 0:
            sessions.append([])
        sessions[-1].append(entry)
    sessions.sort(key=lambda session: _by_birth(session[0][0]))
    nodes[:] = [entry for session in sessions for entry in session]


def describe(node: Node, look: Look) -> Description:
    """What is known of a process, read now where it never was (a child that executed nothing)."""
    if node.described is None:
        node.described = look.describe(node.pid)
    argv = node.described.argv or node.argv
    return Description(argv, node.described.nspid, node.described.start)


def container_tree(
    container: Container, nodes: list[tuple[Node, int, bool]], engine: TreeEngine, look: Look
) -> ContainerTree:
    """A container as a snapshot shows it."""
    processes = []
    for node, depth, session in nodes:
        told = describe(node, look)
        processes.append(
            ProcessInfo(
                node.pid,
                node.ppid,
                node.forked_by,
                told.nspid,
                told.start,
                told.argv,
                tuple(sorted(node.threads or ())),
                session,
                depth,
            )
        )
    init = container.init
    outside = engine.live.get(init.ppid) if not init.died else None
    supervisor = outside.pid if outside is not None and outside.pid != 1 else None
    return ContainerTree(container.info, supervisor, tuple(processes))


def replay(engine: TreeEngine, look: Look, ts: int) -> Iterator[ForkEvent]:
    """A synthetic fork for each process that lives, parents first."""
    for container, nodes in members(engine).items():
        for node, _, _ in nodes:
            told = describe(node, look)
            yield ForkEvent(
                container.info.id,
                node.pid,
                node.ppid,
                ts,
                told.nspid,
                told.start,
                told.argv,
                synthetic=True,
            )
