"""Which threads are held, for the sake of which event, and until when.

A hold begins when an event is sent to the notifier. It ends when the callback has returned, or at
its deadline; never before, so that a callback that is called ahead of the deadline knows that
nobody has gone on. Threads are let into a hold at any time while it lasts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# More that wait for one event than any engine has, and fewer than we have fds. Strangers are those
# who could hardly start the container: they must not take the places of those who can.
_WAITERS, _STRANGERS = 16, 4
_HOLDS = 256


class Hold:
    """The time between an event and the return of its callback."""

    __slots__ = ("began_ns", "deadline_ns", "ended_ns", "number", "strangers", "waiting")

    def __init__(self, number: int, budget_ns: int) -> None:
        self.number = number
        self.began_ns = time.monotonic_ns()
        self.deadline_ns = self.began_ns + budget_ns
        self.ended_ns: int | None = None if budget_ns > 0 else self.began_ns
        #: fanotify fds of the threads that wait
        self.waiting: list[int] = []
        self.strangers: list[int] = []

    @property
    def lasted_ns(self) -> int:
        """How long it lasted, or has lasted by now."""
        return (self.ended_ns or time.monotonic_ns()) - self.began_ns


class Holds:
    """All holds. `allow` lets the thread of a fanotify fd go on."""

    def __init__(self, allow: Callable[[int], None]) -> None:
        self._allow = allow
        self._holds: dict[int, Hold] = {}
        self._number = 0
        #: how many holds came to their deadline
        self.expired = 0

    def begin(self, budget_ns: int) -> Hold:
        """A new hold of at most `budget_ns`.

        It has ended, and its number is 0, while another is past its deadline: as long as the
        callback is stuck, containers need not wait for it one after the other.
        """
        self.expire()
        stuck = any(hold.ended_ns is not None for hold in self._holds.values())
        if stuck or budget_ns <= 0 or len(self._holds) >= _HOLDS:
            return Hold(0, 0)
        self._number += 1
        hold = Hold(self._number, budget_ns)
        self._holds[hold.number] = hold
        return hold

    def wait(self, hold: Hold, fd: int, stranger: bool = False) -> None:
        """Hold one more thread, as long as `hold` lasts."""
        waiting, limit = (hold.waiting, _WAITERS)
        if stranger:
            waiting, limit = (hold.strangers, _STRANGERS)
        if hold.ended_ns is None and len(waiting) < limit:
            waiting.append(fd)
        else:
            self._allow(fd)

    def answered(self, number: int) -> None:
        """The callback of a hold has returned."""
        hold = self._holds.pop(number, None)
        if hold is not None:
            self._end(hold)

    def expire(self) -> None:
        """End what is past its deadline."""
        now = time.monotonic_ns()
        for hold in self._holds.values():
            if hold.ended_ns is None and hold.deadline_ns <= now:
                self.expired += 1
                self._end(hold)

    def _end(self, hold: Hold) -> None:
        if hold.ended_ns is None:
            hold.ended_ns = time.monotonic_ns()
        for fd in hold.waiting + hold.strangers:
            self._allow(fd)
        hold.waiting.clear()
        hold.strangers.clear()
