"""What runtimes write down about their containers, below their state directory.

runc: ROOT/ID/state.json. crun: ROOT/ID/status. youki: ROOT/ID/state.json, with the fields of the
OCI runtime specification, "State". All are JSON; the files are not part of any specification.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conmon.host.place import Place
from conmon.oci.argv import is_container_id

#: Files in a container's directory, and the runtimes that keep their state so.
NAMES = ("state.json", "status")
RUNTIMES = ("crun", "runc", "youki")
_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class State:
    """One container, as its runtime has it."""

    container_id: str
    #: in the runtime's PID namespace
    pid: int
    #: clock ticks since boot, None if the runtime does not write it down
    start_time: int | None
    bundle: str
    runtime: str
    #: a path in one of the hierarchies; "" if the runtime does not write it down
    cgroup: str


def roots(root: str, uid: int, runtime_dir: str) -> list[str]:
    """State directories to look into: `root` if it is given, else what the runtimes take."""
    if root:
        return [root]
    own = [runtime_dir] if runtime_dir else []
    places = [*own, "/run"] if uid == 0 else [*own, f"/run/user/{uid}"]
    return [f"{place}/{name}" for place in places for name in RUNTIMES]


def read(place: Place, root: str, container_id: str) -> State | None:
    """The state of one container; None if there is none that has a process."""
    if not is_container_id(container_id):
        return None
    for name in NAMES:
        try:
            data = json.loads(place.read(f"{root}/{container_id}/{name}", _LIMIT))
        except (OSError, ValueError, RecursionError):
            continue
        if (state := parse(container_id, data)) is not None:
            return state
    return None


def find(place: Place, candidates: list[str], container_id: str) -> State | None:
    """The state of one container, in whichever directory it is."""
    found = (read(place, root, container_id) for root in candidates)
    return next((state for state in found if state is not None), None)


def parse(container_id: str, data: object) -> State | None:
    """The state that a file's content, decoded, tells of; None if it tells of no process."""
    if not isinstance(data, dict):
        return None
    pid = data.get("init_process_pid") or data.get("pid")
    start_time = data.get("init_process_start") or data.get("process-start-time")
    if not isinstance(pid, int) or pid <= 0:
        return None
    return State(
        container_id=container_id,
        pid=pid,
        start_time=start_time if isinstance(start_time, int) else None,
        bundle=_bundle(data),
        runtime=_runtime(data),
        cgroup=_cgroup(data),
    )


def _runtime(data: Mapping[str, Any]) -> str:
    if "init_process_pid" in data:
        return "runc"
    return "crun" if "process-start-time" in data else "youki"


def _cgroup(data: Mapping[str, Any]) -> str:
    # On cgroup v1 runc has one path per controller; any names the container.
    paths = data.get("cgroup_paths")
    of_runc = [*paths.values()] if isinstance(paths, dict) else []
    return next((path for path in [*of_runc, data.get("cgroup-path")] if path), "")


def _bundle(data: Mapping[str, Any]) -> str:
    bundle = data.get("bundle")
    if isinstance(bundle, str):
        return os.path.normpath(bundle)
    config = data.get("config")
    labels = config.get("labels") if isinstance(config, dict) else None
    for label in labels if isinstance(labels, list) else []:
        if isinstance(label, str) and label.startswith("bundle="):
            return os.path.normpath(label.removeprefix("bundle="))
    return ""
