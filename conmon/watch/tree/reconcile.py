"""Making the tree that of /proc: at the start, and after a loss."""

from __future__ import annotations

from collections.abc import Iterable

from conmon.watch.tree.engine import TreeEngine
from conmon.watch.tree.events import ExecEvent
from conmon.watch.tree.node import Node
from conmon.watch.tree.procfs import TICK_NS, Seen


def reconcile(
    engine: TreeEngine, began: int, found: Iterable[Seen], *, patient: bool = False
) -> None:
    """Take what a scan of /proc found that began at `began` (CLOCK_MONOTONIC, ns).

    Who is gone has ended, who is new was forked: synthetic events tell of both. Events of the
    kernel that tell of the time before the scan change nothing from then on. `patient`: nothing
    was lost, so who is gone has an exit that is under way, and is waited for.
    """
    scan = {seen.pid: seen for seen in found}
    for node in list(engine.live.values()):
        seen = scan.get(node.pid)
        if seen is None and patient:
            if not node.doomed:
                engine.doom(node)
        elif seen is None or not _same_life(node, seen):
            engine.die(node, began, None, synthetic=True)
    if not patient:
        engine.scanned = began
        engine.waiting.remove_until(began)
    fresh = []
    for seen in scan.values():
        known = engine.live.get(seen.pid)
        if known is None:
            known = engine.live[seen.pid] = Node(seen.pid, seen.ppid, seen.born)
            fresh.append(known)
        else:
            engine.unlink(known)
        known.ppid, known.seen, known.reparented = seen.ppid, seen.read_ns, False
        known.start, known.doomed = seen.start, False
        known.threads = set(seen.threads) or None
        known.leader_status, known.doubtful = None if seen.leads else 0, False
    for pid in scan:
        engine.link(engine.live[pid])
    _inherit(engine, fresh, began)
    for node in fresh:
        engine.replay(node.pid)


def _same_life(node: Node, seen: Seen) -> bool:
    if node.start is not None:
        return node.start == seen.start
    # A life that we know from its fork event started before that; a later one did after.
    return seen.born <= node.born + TICK_NS


def _inherit(engine: TreeEngine, fresh: list[Node], ts: int) -> None:
    """Find the container of processes that a scan brought, parents first."""
    new = {node.pid for node in fresh}
    for node in fresh:
        chain = [node]
        while chain[-1].ppid in new and len(chain) <= len(fresh):
            chain.append(engine.live[chain[-1].ppid])
        for link in reversed(chain):
            if link.pid not in new:
                continue
            new.discard(link.pid)
            parent = engine.live.get(link.ppid)
            if link.container is not None:
                pass  # its container was found by a look at another process
            elif parent is not None and parent.container is not None:
                engine.join(link, parent.container, ts, synthetic=True)
            else:
                engine.assign(link, ts, synthetic=True)


def refresh(engine: TreeEngine, ts: int) -> None:
    """After a loss, describe all members anew, and tell of those that executed unseen."""
    for node in list(engine.live.values()):
        if node.container is None or node.died:
            continue
        before, told = node.argv, engine.describe(node)
        if told.argv is not None and told.argv != before:
            engine.emit(
                ExecEvent(
                    node.container.info.id,
                    node.pid,
                    node.ppid,
                    ts,
                    told.nspid,
                    told.start,
                    told.argv,
                    synthetic=True,
                )
            )
