"""Watching containers from outside: their start and end, and their process trees."""

from conmon.watch.process_tree import ProcessTree as ProcessTree
from conmon.watch.tree_events import ContainerInfo as ContainerInfo
from conmon.watch.tree_events import ContainerTree as ContainerTree
from conmon.watch.tree_events import ProcessInfo as ProcessInfo
from conmon.watch.tree_events import TreeEvent as TreeEvent
