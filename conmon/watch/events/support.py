"""What can be watched on this host by this process, and what would make it more."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from conmon.host.place import Place
from conmon.watch.events import fanotify
from conmon.watch.events.deadman import DeadMan

# inode number that the kernel gives the first PID namespace (include/linux/proc_ns.h)
_FIRST_PID_NAMESPACE = 0xEFFF_FFFC
_CAP_SYS_PTRACE = 19

#: What mode "notify" does not see
NOTIFY_LIMITS = (
    "Nobody is held: ADD_CONTAINER may come after the entry point has begun, and paused is False.",
    "There is no PRE_CREATE_CONTAINER.",
    "Runtimes must keep their state in a known directory, and other users' only root can read.",
    "A container whose creation fails late may be seen to begin and end.",
)


@dataclass(frozen=True, slots=True)
class Support:
    """One thing that was tried. `needed` is empty, or says what would grant it."""

    ok: bool
    reason: str
    needed: str = ""
    #: mode "hold" does not work without it
    required: bool = True


def supported() -> bool:
    """Whether containers can be held before their entry point runs: mode "hold"."""
    return not missing(support_details())


def missing(details: dict[str, Support]) -> list[str]:
    """A line for each thing that mode "hold" lacks."""
    lacking = {name: one for name, one in details.items() if one.required and not one.ok}
    return [f"{name}: {one.reason}. {one.needed}" for name, one in lacking.items()]


def support_details() -> dict[str, Support]:
    """Try each thing that watching needs. Nothing is changed, and nobody is held."""
    return {
        "fanotify permission events": _attempt(
            _permission_events,
            "CAP_SYS_ADMIN in the first user namespace grants it (root; in a rootful container"
            " --cap-add=SYS_ADMIN), on a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS",
        ),
        "memory of other processes": _ptrace(),
        "paths of other processes": _attempt(_openat2, "Linux 5.6 has openat2(2)"),
        "timer that ends a stopped helper": _attempt(
            _timer, "The limit of pending signals must leave room for one (ulimit -i)"
        ),
        "pidfd": _attempt(_pidfd, "Linux 5.3 has pidfd_open(2)"),
        "processes of the whole host": _first_pid_namespace(),
        "exit status of reaped processes": _exit_status(),
    }


def _attempt(action: Callable[[], None], needed: str) -> Support:
    try:
        action()
    except (OSError, AttributeError) as error:
        return Support(False, str(error), needed)
    return Support(True, "works")


def _permission_events() -> None:
    group = fanotify.Group()
    try:
        # a file of our own, which nobody executes
        with tempfile.TemporaryFile() as file:
            group.mark(file.fileno())
    finally:
        group.close()


def _openat2() -> None:
    place = Place("/", "/")
    try:
        os.close(place.open("/", os.O_PATH))
    finally:
        place.close()


def _timer() -> None:
    DeadMan(3600 * 10**9).close()


def _pidfd() -> None:
    os.close(os.pidfd_open(os.getpid()))


def _ptrace() -> Support:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("CapEff:"))
    needed = "CAP_SYS_PTRACE grants it (root; in a rootful container --cap-add=SYS_PTRACE)"
    if not int(line.split()[1], 16) >> _CAP_SYS_PTRACE & 1:
        return Support(False, "CAP_SYS_PTRACE is not in effect", needed)
    if _yama() == "3":
        return Support(False, "kernel.yama.ptrace_scope is 3", "A value below 3 grants it (sysctl)")
    return Support(True, "works")


def _yama() -> str:
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _first_pid_namespace() -> Support:
    if os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE:
        return Support(True, "works", required=False)
    return Support(
        False,
        "Runtimes outside of this PID namespace cannot be told apart",
        "In a container, --pid=host grants it",
        required=False,
    )


def _exit_status() -> Support:
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if version is not None and (int(version[1]), int(version[2])) >= (6, 15):
        return Support(True, "works", required=False)
    return Support(
        False,
        "The exit status is known only if the monitor has not taken it before us",
        "Linux 6.15 tells it by PIDFD_GET_INFO",
        required=False,
    )
