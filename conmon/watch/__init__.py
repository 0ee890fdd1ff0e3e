"""Watching containers from outside: their start and end, and their process trees."""

from conmon.watch.process_tree import ProcessTree as ProcessTree
