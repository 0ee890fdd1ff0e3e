"""The containers that OCI runtimes keep state of.

runc: `ROOT/ID/state.json` (id, init_process_pid, init_process_start, config.labels "bundle=...");
crun: `ROOT/ID/status` (pid, process-start-time, bundle, cgroup-path). Start times are in clock
ticks since boot. A state may be left over from a container that was killed: whoever uses one
compares pid and start with /proc.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from conmon.watch.tree_events import ContainerInfo

#: Where runtimes of root and of users keep their state, as shell patterns.
STATE_ROOTS = (
    "/run/runc",
    "/run/crun",
    "/run/containerd/runc/*",
    "/run/docker/runtime-runc/*",
    "/run/user/*/runc",
    "/run/user/*/crun",
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
        for path, runtime in self._files():
            if len(found) >= _MAX_CONTAINERS:
                break
            try:
                status = os.stat(path)
            except OSError:
                continue
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, _read(path, runtime))
            found[path] = known
        self._known = found
        return iter([info for _, info in found.values() if info is not None])

    def _files(self) -> Iterator[tuple[str, str]]:
        for pattern in self._roots:
            for root in glob.iglob(pattern):
                try:
                    names = os.listdir(root)
                except OSError:
                    continue
                for name in names:
                    yield f"{root}/{name}/state.json", "runc"
                    yield f"{root}/{name}/status", "crun"


def _read(path: str, runtime: str) -> ContainerInfo | None:
    """A state, or None for what is none (yet): it may be caught while it is written."""
    name = os.path.basename(os.path.dirname(path))
    try:
        with open(path, "rb") as file:
            state = json.loads(file.read(_MAX_STATE))
        if runtime == "runc":
            return _runc(name, state)
        return _crun(name, state)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _runc(name: str, state: dict[str, Any]) -> ContainerInfo | None:
    pid = int(state["init_process_pid"])
    labels = state.get("config", {}).get("labels") or ()
    bundles = [label[7:] for label in labels if label.startswith("bundle=")]
    paths = state.get("cgroup_paths") or {}
    # On cgroup v1 there is one path per controller; any names the container.
    cgroup = next((path for path in paths.values() if path), None)
    if pid <= 0:
        return None
    start = int(state["init_process_start"])
    return ContainerInfo(name, pid, start, "runc", bundles[0] if bundles else None, cgroup=cgroup)


def _crun(name: str, state: dict[str, Any]) -> ContainerInfo | None:
    pid = int(state["pid"])
    if pid <= 0:
        return None
    start = int(state["process-start-time"])
    return ContainerInfo(
        name, pid, start, "crun", state.get("bundle"), cgroup=state.get("cgroup-path") or None
    )
