"""Waiting until there is more of a log, without polling."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator

from conmon.ctl.logfile import Log
from conmon.ctl.monitors import Monitor
from conmon.host.inotify import Inotify, Mask

_NAMES = Mask.CREATE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE
_CONTENT = Mask.MODIFY | Mask.ATTRIB


def follow(log: Log, monitor: Monitor | None) -> Iterator[list[bytes]]:
    """Records as they come, in batches: [] when all that there is was given.

    Ends when the monitor has ended and all was read, or when nobody reads our output any more.
    """
    with Inotify() as changes, contextlib.closing(_Waiter(changes, monitor)) as waiter:
        changes.add_fd(log.directory, _NAMES)
        content = changes.add_fd(log.file.fd, _CONTENT)
        while True:
            # Asked before reading: what is written until the end is read then.
            ended = waiter.monitor_ended
            yield from log.file.read()
            if (newcomer := log.newcomer()) is not None:
                if newcomer.st_size:
                    yield from catch_up(log)
                    changes.remove(content)
                    content = changes.add_fd(log.file.fd, _CONTENT)
                    continue
                _watch_name(changes, log)
                # Something may have been written between the look and the watch.
                if (newcomer := log.newcomer()) is not None and newcomer.st_size:
                    continue
            yield []
            if ended or not waiter.wait():
                return


def catch_up(log: Log) -> Iterator[list[bytes]]:
    """Read what is left in the old file, then those that follow, and stay with the last one."""
    while (file := log.successor()) is not None:
        yield from log.file.read()  # again: until then something may have been written to it
        log.file.close()
        log.file = file
    yield from log.file.read()


def _watch_name(changes: Inotify, log: Log) -> None:
    """Watch the file that has the log's name now. To watch one again does nothing."""
    with contextlib.suppress(OSError):
        fd = os.open(log.name, os.O_PATH | os.O_CLOEXEC, dir_fd=log.directory)
        try:
            changes.add_fd(fd, _CONTENT)
        finally:
            os.close(fd)


class _Waiter:
    """Waits for a change, the monitor's end, or the end of who reads our output."""

    def __init__(self, changes: Inotify, monitor: Monitor | None) -> None:
        self._changes = changes
        self._pidfd = -1
        self.monitor_ended = False
        self._poll = select.poll()
        self._poll.register(changes.fd, select.POLLIN)
        self._out = sys.stdout.fileno()
        self._poll.register(self._out, 0)  # POLLERR and POLLHUP come unasked
        if monitor is None:
            return
        try:
            self._pidfd = os.pidfd_open(monitor.pid)
            self.monitor_ended = not monitor.alive()
        except ProcessLookupError:
            self.monitor_ended = True
        if self._pidfd >= 0:
            self._poll.register(self._pidfd, select.POLLIN)

    def wait(self) -> bool:
        """Wait; False if nobody reads our output any more."""
        ready = {fd for fd, _ in self._poll.poll()}
        self._changes.read()
        if self._pidfd in ready:
            self.monitor_ended = True
            self._poll.unregister(self._pidfd)
        return self._out not in ready

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
