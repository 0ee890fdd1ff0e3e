"""What events, tree and supported share: opening the watchers, and the names of containers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conmon.ctl import monitors
from conmon.ctl.errors import CtlError, NotPermitted
from conmon.host import procfs

if TYPE_CHECKING:
    from conmon.watch import ProcessTree
    from conmon.watch.tree.events import ContainerInfo


@dataclass(frozen=True)
class Known:
    """A container, for lookup: with or without a monitor."""

    id: str
    name: str
    session: None = None

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.name or self.id[:12]


class Names:
    """Names of containers by their ids, from their monitors; looked up again when one is new."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def set(self, container: str, name: str) -> None:
        """Note a name that was told elsewhere."""
        if name:
            self._names[container] = name

    def get(self, container: str) -> str:
        """The name; empty if there is none."""
        if container not in self._names:
            self._names |= {m.id: m.name for m in monitors.find() if m.session is None}
            self._names.setdefault(container, "")
        return self._names[container]

    def forget(self, container: str) -> None:
        """The container has ended."""
        self._names.pop(container, None)


@contextlib.contextmanager
def refusals(doing: str) -> Iterator[None]:
    """Turn what keeps a watcher from its work into words."""
    try:
        yield
    except PermissionError as error:
        raise NotPermitted(
            f"cannot {doing}: {error.strerror or error}",
            "`conmonctl supported` tells what is missing, and what would grant it",
        ) from error
    except OSError as error:
        raise CtlError(f"cannot {doing}: {error.strerror or error}") from error


def add(tree: ProcessTree, container: str, pid: int, runtime: str) -> None:
    """Tell the tree of a container; that it has ended meanwhile is no fault."""
    with contextlib.suppress(OSError, RuntimeError):
        tree.add_container(_container_info(container, pid, runtime))


def _container_info(container: str, pid: int, runtime: str) -> ContainerInfo:
    """What a tree is told. OSError if the process has gone."""
    from conmon.watch.tree.events import ContainerInfo

    start = procfs.stat(pid).start
    return ContainerInfo(container, pid, start, os.path.basename(runtime) or None)


def _of_monitors() -> Iterator[ContainerInfo]:
    """The containers that monitors tell of."""
    for monitor in monitors.find():
        pid = monitor.container_pid if monitor.session is None else None
        if pid is not None:
            with contextlib.suppress(OSError):
                yield _container_info(monitor.id, pid, monitor.runtime)


@contextlib.contextmanager
def process_tree(source: str) -> Iterator[ProcessTree]:
    """The processes of all containers, while they are watched. CtlError.

    Containers are those that runtimes keep state of in the usual places, and those that a
    monitor tells of, wherever the state is.
    """
    from conmon.watch import ProcessTree

    with refusals("watch processes"):
        tree = ProcessTree(source)
    try:
        tree.add_containers(_of_monitors())
        yield tree
    finally:
        tree.close()
