"""Containers that are there already, by what their monitors and runtimes tell."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from conmon.host import procfs
from conmon.host.namespaces import PidSpace
from conmon.host.place import Place
from conmon.oci import argv, bundles, states
from conmon.oci.monitors import monitor_of
from conmon.oci.states import State
from conmon.watch.events.types import Source

_PID_SIZE = 32


@dataclass(frozen=True, slots=True)
class Running:
    """A container that has a process."""

    fields: dict[str, Any]
    config: str | None
    pid: int
    start_time: int


def look(place: Place, state: State) -> Running | None:
    """A container by its runtime's state; None if that process is gone, or is no container's."""
    try:
        stat = procfs.stat(state.pid)
    except OSError:
        return None
    if stat.state == "Z" or state.start_time not in (None, stat.start):
        return None
    monitor_pid, call = monitor_of(state.pid, state.container_id)
    config = bundles.read_config(place, state.bundle) if state.bundle else None
    fields = {
        "container_id": state.container_id,
        "container_name": (call and call.name) or bundles.name_of(bundles.parse_config(config)),
        "container_pid": state.pid,
        "start_time": stat.start,
        "bundle": state.bundle,
        "conmon_pid": monitor_pid,
        "source": Source.STATE,
    }
    return Running(fields, config, state.pid, stat.start)


def scan(place: Place, roots: Iterable[str]) -> Iterator[Running]:
    """All containers in these state directories; of what we may not read there is nothing."""
    for root in roots:
        for name in names(place, root):
            state = states.read(place, root, name)
            found = look(place, state) if state is not None else None
            if found is not None:
                yield found


def scan_monitors() -> Iterator[Running]:
    """All containers that have a monitor, wherever their runtime keeps its state."""
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            call = argv.monitor_call(procfs.command_line(int(name)))
            found = _monitored(int(name), call) if call is not None else None
        except OSError:
            continue  # gone, or not ours to look into
        if found is not None:
            yield found


def _monitored(pid: int, call: argv.MonitorCall) -> Running | None:
    """The container of a monitor. OSError."""
    with contextlib.closing(Place.of(pid)) as place, contextlib.closing(PidSpace(pid)) as pids:
        text = place.read(call.pid_file, _PID_SIZE).strip()
        if call.is_exec or not text.isdigit():
            return None
        container_pid = pids.translate(int(text))
        stat = procfs.stat(container_pid)
        # any process may have any command line; this one has the container below it
        if monitor_of(container_pid, call.container_id)[0] != pid or stat.state == "Z":
            return None
        bundle = place.path(call.bundle)
        config = bundles.read_config(place, bundle)
    fields = {
        "container_id": call.container_id,
        "container_name": call.name or bundles.name_of(bundles.parse_config(config)),
        "container_pid": container_pid,
        "start_time": stat.start,
        "bundle": bundle,
        "conmon_pid": pid,
        "uid": procfs.status(pid).uid,
        "source": Source.MONITOR,
    }
    return Running(fields, config, container_pid, stat.start)


def names(place: Place, root: str) -> list[str]:
    """The ids of the containers in a state directory, as far as we may list it."""
    try:
        fd = place.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        return [name for name in sorted(os.listdir(fd)) if argv.is_container_id(name)]
    finally:
        os.close(fd)
