"""The ends of containers: a pidfd each, and how the process ended."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from conmon.host import pidfd
from conmon.watch.events.loop import Loop

# A zombie's status may be hidden from us; of who was reaped the kernel tells. A monitor reaps at
# once; one that does not must not keep the news back.
_REAP_NS = 1_000_000_000

Ended = Callable[[int | None], None]


class Ends:
    """Waits for the ends of processes."""

    def __init__(self, loop: Loop, privileged: bool) -> None:
        self._loop = loop
        self._privileged = privileged
        self._fds: set[int] = set()

    def watch(self, pid: int, start_time: int, ended: Ended) -> None:
        """Call `ended` with the wait(2) status, None if it cannot be known. ProcessLookupError."""
        fd = pidfd.open_process(pid, start_time)
        self._fds.add(fd)

        def tell(status: int | None) -> None:
            if fd in self._fds:
                self._fds.remove(fd)
                self._loop.forget(fd)
                os.close(fd)
                ended(status)

        def on_event(events: int) -> None:
            status = pidfd.wait_status(fd, pid, start_time, self._privileged)
            if status is not None or events & select.EPOLLHUP:
                tell(status)
                return
            # readable from now on: wait for the hang-up, which needs no asking for
            self._loop.watch(fd, on_event, 0)
            self._loop.at(time.monotonic_ns() + _REAP_NS, lambda: tell(None))

        self._loop.watch(fd, on_event)
