"""What the helper tells the notifier: events, each with the time that it may take."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from conmon.watch.events.holds import Hold
from conmon.watch.events.link import Outbox
from conmon.watch.events.types import EventType, Source

log = logging.getLogger(__name__)

# A notifier that does not read: more than this in its way, bytes, and events are lost.
_OUTBOX_LIMIT = 64 << 20


class Reporter:
    """Sends events; counts those that it could not send."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.lost = 0

    def is_full(self) -> bool:
        """Whether the notifier is so far behind that the next event is to be lost; it counts."""
        if len(self._outbox) <= _OUTBOX_LIMIT:
            return False
        self.lose("the callback is too far behind")
        return True

    def lose(self, why: str) -> None:
        """Count an event that cannot be sent."""
        self.lost += 1
        if self.lost == 1:
            log.warning("Events are lost: %s", why)

    def appears(
        self, kind: EventType, fields: dict[str, Any], config: str | None, hold: Hold
    ) -> None:
        """Tell of a container that is to be, or is there."""
        self._send(kind, fields, config, hold)

    def ends(self, fields: dict[str, Any], status: int | None) -> None:
        """Tell of the end of a container, with the wait(2) status of its first process."""
        code = None if status is None else os.waitstatus_to_exitcode(status)
        signal = -code if code is not None and code < 0 else None
        end = {
            "exit_status": code if signal is None else 128 + signal,
            "exit_signal": signal,
            "source": Source.PIDFD,
        }
        self._send(EventType.REMOVE_CONTAINER, fields | end, None, Hold(0, 0))

    def _send(
        self, kind: EventType, fields: dict[str, Any], config: str | None, hold: Hold
    ) -> None:
        times = {"mono_ns": time.monotonic_ns(), "wall_ns": time.time_ns()}
        self._outbox.send(
            {
                "kind": "event",
                "hold": hold.number,
                "deadline_ns": hold.deadline_ns if hold.number else 0,
                "config": config,
                "event": {**fields, **times, "type": kind},
            }
        )
