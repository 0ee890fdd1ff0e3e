"""Watching containers from outside: their start and end, and their process trees."""

from conmon.watch.events import ContainerEvent, EventType, Source
from conmon.watch.notifier import ContainerNotifier, Statistics
from conmon.watch.process_tree import ProcessTree
from conmon.watch.support import Support, support_details, supported
from conmon.watch.tree_events import ContainerInfo, ContainerTree, ProcessInfo, TreeEvent

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
