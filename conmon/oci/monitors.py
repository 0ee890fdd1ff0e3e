"""The monitor of a process: the nearest ancestor that was called as one."""

from __future__ import annotations

from conmon.host import procfs
from conmon.oci import argv

#: how far above a container's first process: its runtime, and that one's wrapper, may be between
_GENERATIONS = 4
# each is begun by an ancestor's end, of which there are no more than that
_TRIES = 2 * _GENERATIONS

Found = tuple[int, argv.MonitorCall | None]


def monitor_of(pid: int, container_id: str, root: str = "/proc") -> Found:
    """The monitor of a container that a process belongs to, or is made by: its pid and call.

    (0, None) if there is none, or the process is gone. A runtime that makes a container in the
    background ends at any time, and its child is the monitor's own from then on.
    """
    for _ in range(_TRIES):
        try:
            return _search(pid, container_id, root)
        except ProcessLookupError:
            continue  # one of them has ended: whose child is the process now?
        except OSError:
            break
    return 0, None


def _search(pid: int, container_id: str, root: str) -> Found:
    """The same by one way up. ProcessLookupError if that has changed meanwhile."""
    above = procfs.stat(pid, root).ppid
    for _ in range(_GENERATIONS):
        if not above:
            break
        call = argv.monitor_call(procfs.command_line(above, root))
        if call is not None and call.container_id == container_id:
            return above, call
        above = procfs.stat(above, root).ppid
    return 0, None
