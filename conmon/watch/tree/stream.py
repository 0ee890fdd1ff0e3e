"""Events on their way from the tree's thread to whoever iterates over them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from conmon.watch.tree.events import LostEvent, TreeEvent

#: Events that are kept for who does not fetch them.
QUEUE_LIMIT = 65536


class EventStream:
    """An iterator over events. It ends when the tree is closed, at the timeout, or by `close`.

    What nobody fetches in time is dropped, the oldest first, and told of by a LostEvent whose
    source is "queue". Also a context manager: at its end nothing more is kept.
    """

    def __init__(
        self, timeout: float | None, detach: Callable[[EventStream], BaseException | None]
    ) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout
        self._queue: deque[TreeEvent] = deque()
        self._more = threading.Condition()
        self._dropped = 0
        self._closed = False
        self._detach = detach

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TreeEvent:
        if self._dropped:
            return self._tell_dropped()
        if self._end is not None and time.monotonic() >= self._end:
            self._detach(self)  # what has come until now is told
        try:
            return self._queue.popleft()
        except IndexError:
            pass
        with self._more:
            left = None if self._end is None else self._end - time.monotonic()
            if self._more.wait_for(self._ready, left) and self._queue:
                return self._queue.popleft()
        self.close()
        raise StopIteration

    def _ready(self) -> bool:
        return bool(self._queue) or self._closed

    def _tell_dropped(self) -> LostEvent:
        with self._more:
            dropped, self._dropped = self._dropped, 0
        return LostEvent("queue", dropped, False, time.monotonic_ns())

    def put(self, event: TreeEvent) -> bool:
        """Take an event, in place of the oldest where there are too many; False for that.

        Who waits is woken by `flush`, once for many events.
        """
        self._queue.append(event)
        if len(self._queue) <= QUEUE_LIMIT:
            return True
        with self._more:
            self._queue.popleft()
            self._dropped += 1
        return False

    def flush(self) -> None:
        """Wake who waits, if there is something."""
        if self._queue:
            with self._more:
                self._more.notify_all()

    def end(self) -> None:
        """There will be no more events, and those that wait are not wanted."""
        with self._more:
            self._closed = True
            self._queue.clear()
            self._dropped = 0
            self._more.notify_all()

    def close(self) -> None:
        """Want no more events. Raises what has ended the tree, if it was an error."""
        self.end()
        error = self._detach(self)
        if error is not None:
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
