"""Containers by the state directories of their runtimes: nobody is held, and no privilege needed.

A container is noticed when its runtime has written its state down, which may be after its entry
point began; one whose creation fails late is seen to begin and end.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from conmon.host.inotify import Change, Inotify, Mask
from conmon.host.place import Place
from conmon.oci import states
from conmon.watch.events import running
from conmon.watch.events.loop import Loop

log = logging.getLogger(__name__)

_ENTRIES = Mask.CREATE | Mask.MOVED_TO
# of a directory that may be looked up but not read, no change is ever seen
_TRIES = 4
_FILES = Mask.CLOSE_WRITE | Mask.MOVED_TO


class Observer:
    """Calls `found` for each container that appears in one of the state directories.

    It may do so several times for the same one.
    """

    def __init__(
        self,
        loop: Loop,
        place: Place,
        roots: Sequence[str],
        found: Callable[[running.Running], None],
    ) -> None:
        self._place = place
        self._roots = roots
        self._found = found
        #: by watch: a state directory or one above it, or that of one container
        self._directories: dict[int, str] = {}
        self._inotify = Inotify()
        loop.watch(self._inotify.fd, self._on_change)
        for root in roots:
            self._watch_root(root)

    def _on_change(self, _: int) -> None:
        for change in self._inotify.read():
            if change.watch < 0:
                log.warning("Changes of state directories were lost; they are read anew")
                for root in self._roots:
                    self._watch_root(root)
            elif change.mask & Mask.IGNORED:
                self._directories.pop(change.watch, None)
            elif change.watch in self._directories:
                self._on_entry(self._directories[change.watch], change)

    def _on_entry(self, directory: str, change: Change) -> None:
        path = os.path.join(directory, change.name)
        if directory in self._roots:
            self._watch_container(directory, change.name)
        elif os.path.dirname(directory) in self._roots and change.name in states.NAMES:
            self._look(*os.path.split(directory))
        for root in self._roots:
            if root == path or root.startswith(path + "/"):
                self._watch_root(root)

    def _watch_root(self, root: str) -> None:
        """Watch a state directory; or what is nearest to it, until it is there."""
        for _ in range(_TRIES):
            directory, below = root, ""
            while not self._add(directory, _ENTRIES) and directory != "/":
                directory, below = os.path.dirname(directory), directory
            # what was made between the look and the watch is found by looking once more
            if not below or self._place.identity(below) is None:
                break
        for name in running.names(self._place, root):
            self._watch_container(root, name)

    def _watch_container(self, root: str, name: str) -> None:
        if self._add(os.path.join(root, name), _FILES):
            self._look(root, name)

    def _look(self, root: str, name: str) -> None:
        state = states.read(self._place, root, name)
        found = running.look(self._place, state) if state is not None else None
        if found is not None:
            self._found(found)

    def _add(self, path: str, mask: Mask) -> bool:
        try:
            fd = self._place.open(path, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            watch = self._inotify.add(f"/proc/self/fd/{fd}", mask)
        except OSError as error:
            log.debug("%s cannot be watched: %s", path, error)
            return False
        finally:
            os.close(fd)
        self._directories[watch] = path
        return True
