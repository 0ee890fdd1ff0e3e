"""The containers that OCI runtimes keep state of, as conmon.oci.states reads it.

A state may be left over from a container that was killed: whoever uses one compares pid and start
with /proc.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator

from conmon.host import procfs
from conmon.oci import states
from conmon.watch.tree.events import ContainerInfo

#: Where runtimes of root and of users keep their state, as shell patterns.
STATE_ROOTS = (
    *(f"/run/{name}" for name in states.RUNTIMES),
    "/run/containerd/runc/*",
    "/run/docker/runtime-runc/*",
    *(f"/run/user/*/{name}" for name in states.RUNTIMES),
)
_MAX_STATE = 16 << 20  # bytes
_MAX_CONTAINERS = 16384

_Stamp = tuple[int, int, int]


class RuntimeStates:
    """Reads the states, and again only those that changed."""

    def __init__(self, roots: Iterable[str] = STATE_ROOTS) -> None:
        self._roots = tuple(roots)
        self._known: dict[str, tuple[_Stamp, ContainerInfo | None]] = {}

    def __iter__(self) -> Iterator[ContainerInfo]:
        """All containers that there is a state of now, running or not."""
        found: dict[str, tuple[_Stamp, ContainerInfo | None]] = {}
        for path in self._files():
            if len(found) >= _MAX_CONTAINERS:
                break
            try:
                status = os.stat(path)
            except OSError:
                continue
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, _read(path))
            found[path] = known
        self._known = found
        return iter([info for _, info in found.values() if info is not None])

    def _files(self) -> Iterator[str]:
        for pattern in self._roots:
            for root in glob.iglob(pattern):
                try:
                    names = os.listdir(root)
                except OSError:
                    continue
                yield from (f"{root}/{name}/{file}" for name in names for file in states.NAMES)


def _read(path: str) -> ContainerInfo | None:
    """A state, or None for what is none (yet): it may be caught while it is written."""
    name = os.path.basename(os.path.dirname(path))
    try:
        with open(path, "rb") as file:
            state = states.parse(name, json.loads(file.read(_MAX_STATE)))
        if state is None:
            return None
        start = state.start_time
        if start is None:  # youki does not write it down
            start = procfs.stat(state.pid).start
    except (OSError, ValueError, RecursionError):
        return None
    return ContainerInfo(
        name, state.pid, start, state.runtime, state.bundle or None, cgroup=state.cgroup or None
    )
