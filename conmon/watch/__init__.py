"""Watching containers from outside: their start and end, and their process trees.

What is named here is public. `events` is how containers are seen, `tree` how their processes are,
and `sources` where these events come from; ProcessTree puts the two together.
"""

from conmon.watch.events.notifier import ContainerNotifier, Statistics
from conmon.watch.events.support import Support, support_details, supported
from conmon.watch.events.types import ContainerEvent, EventType, Source
from conmon.watch.process_tree import ProcessTree
from conmon.watch.tree.events import ContainerInfo, ContainerTree, ProcessInfo, TreeEvent

__all__ = [
    "ContainerEvent",
    "ContainerInfo",
    "ContainerNotifier",
    "ContainerTree",
    "EventType",
    "ProcessInfo",
    "ProcessTree",
    "Source",
    "Statistics",
    "Support",
    "TreeEvent",
    "support_details",
    "supported",
]
