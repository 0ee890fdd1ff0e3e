"""Keeps runtimes marked: a mark is on an inode, and an upgrade puts another one in its place."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence

from conmon.host.inotify import Inotify, Mask
from conmon.watch.events.fanotify import Group
from conmon.watch.events.loop import Loop

log = logging.getLogger(__name__)

_CHANGES = Mask.CREATE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE
_LINKS = 40  # as many as the kernel follows


class Marks:
    """Marks the runtimes that are there now, and those that come to be there.

    `root`: what the paths, and absolute links on their way, begin at.
    """

    def __init__(self, loop: Loop, group: Group, root: str, paths: Sequence[str]) -> None:
        self._group = group
        self._root = root
        self._paths = paths
        self._marked: set[str] = set()
        #: by inotify watch: the names that lead to a runtime
        self._names: dict[int, set[str]] = {}
        self._inotify = Inotify()
        loop.watch(self._inotify.fd, self._on_change)
        self._refresh()

    @property
    def paths(self) -> list[str]:
        """The runtimes that are there, and marked."""
        return sorted(self._marked)

    def _on_change(self, _: int) -> None:
        changes = self._inotify.read()
        if any(c.watch < 0 or c.name in self._names.get(c.watch, ()) for c in changes):
            self._refresh()

    def _refresh(self) -> None:
        for path in self._paths:
            self._watch(path)
            # after the watches, so that no change falls between a look and them
            self._mark(path)

    def _watch(self, path: str) -> None:
        for directory, name in walk(self._root, path)[0]:
            try:
                watch = self._inotify.add(directory, _CHANGES)
            except OSError as error:
                if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
                    log.warning("%s cannot be watched for changes: %s", directory, error)
                return
            self._names.setdefault(watch, set()).add(name)

    def _mark(self, path: str) -> None:
        try:
            fd = os.open(walk(self._root, path)[1], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            self._marked.discard(path)
            return
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                # once more does no harm; and another inode may have the number of the last one
                self._group.mark(fd)
                self._marked.add(path)
        except OSError as error:
            log.warning("%s cannot be watched: %s", path, error)
        finally:
            os.close(fd)


def walk(root: str, path: str) -> tuple[list[tuple[str, str]], str]:
    """The way to a file: each directory with the name that is looked up in it; and where it ends.

    The way ends early at a name that does not exist, or after too many links.
    """
    names = path.split("/")[::-1]
    here, links = root, 0
    steps = []
    while names:
        name = names.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = here if here == root else os.path.dirname(here)
            continue
        steps.append((here, name))
        there = os.path.join(here, name)
        try:
            target = os.readlink(there)
        except OSError:
            here = there
            continue
        links += 1
        if links > _LINKS:
            return steps, there
        names += target.split("/")[::-1]
        here = root if target.startswith("/") else here
    return steps, here
