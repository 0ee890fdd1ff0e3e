"""What the helper tells the notifier: events, each with the time that it may take."""

from __future__ import annotations

import os
import time
from typing import Any

from conmon.watch.events import EventType, Source
from conmon.watch.holds import Hold
from conmon.watch.link import Outbox

# A notifier that does not read: more than this in its way, bytes, and events are lost.
_OUTBOX_LIMIT = 64 << 20


class Reporter:
    """Sends events; counts what it could not send."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.lost = 0

    def appears(
        self,
        kind: EventType,
        fields: dict[str, Any],
        config: str | None,
        hold: Hold | None = None,
    ) -> bool:
        """Tell of a container that is to be, or is there; False if that was lost."""
        if len(self._outbox) > _OUTBOX_LIMIT:
            self.lost += 1
            self._outbox.send({"kind": "lost", "count": self.lost})
            return False
        self._send(kind, fields, config=config, hold=hold)
        return True

    def ends(self, fields: dict[str, Any], status: int | None) -> None:
        """Tell of the end of a container, with the wait(2) status of its first process."""
        code = None if status is None else os.waitstatus_to_exitcode(status)
        fields |= {"source": Source.PIDFD, "exit_status": code, "exit_signal": None}
        if code is not None and code < 0:
            fields |= {"exit_status": 128 - code, "exit_signal": -code}
        self._send(EventType.REMOVE_CONTAINER, fields)

    def _send(
        self,
        kind: EventType,
        fields: dict[str, Any],
        config: str | None = None,
        hold: Hold | None = None,
    ) -> None:
        times = {"mono_ns": time.monotonic_ns(), "wall_ns": time.time_ns()}
        self._outbox.send(
            {
                "kind": "event",
                "hold": hold.number if hold else 0,
                "deadline_ns": hold.deadline_ns if hold and hold.number else 0,
                "config": config,
                "event": {**fields, **times, "type": kind},
            }
        )
