"""The event loop of the helper process: file descriptors and moments."""

from __future__ import annotations

import heapq
import itertools
import logging
import select
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

Action = Callable[[], None]


class Loop:
    """Calls handlers of fds that are ready, and actions whose time has come.

    One that fails is logged, and the others are served. `alive` is called before each round, and
    at least every `wake_ns`.
    """

    def __init__(self, alive: Action, wake_ns: int) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[int, int, Action]] = []
        self._numbers = itertools.count()
        self._alive = alive
        self._wake_ns = wake_ns
        self._stop = False

    def watch(self, fd: int, handler: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        """Call `handler(events)` whenever `fd` is ready; or change what is waited for."""
        if fd in self._handlers:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Watch `fd` no more. It must still be open."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def at(self, when_ns: int, action: Action) -> None:
        """Call `action` at a time of CLOCK_MONOTONIC. There is no way to call it off."""
        heapq.heappush(self._timers, (when_ns, next(self._numbers), action))

    def stop(self) -> None:
        """Leave `run()` after this round."""
        self._stop = True

    def run(self) -> None:
        """Serve until `stop()`."""
        while not self._stop:
            self._alive()
            for fd, events in self._epoll.poll(self._timeout_s()):
                handler = self._handlers.get(fd)
                if handler is not None:  # one before it may have forgotten it
                    _call(handler, events)
            now = time.monotonic_ns()
            while self._timers and self._timers[0][0] <= now:
                _call(heapq.heappop(self._timers)[2])

    def _timeout_s(self) -> float:
        wait = self._wake_ns
        if self._timers:
            wait = min(wait, max(0, self._timers[0][0] - time.monotonic_ns()))
        return wait / 1e9


def _call(function: Callable[..., None], *arguments: int) -> None:
    try:
        function(*arguments)
    except Exception:
        log.exception("An event was not handled")
