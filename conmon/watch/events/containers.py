"""The containers that were reported: each once when it appears, and once when it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conmon.watch.events.ends import Ends
from conmon.watch.events.holds import Hold
from conmon.watch.events.report import Reporter
from conmon.watch.events.types import EventType

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Container:
    """One container; `hold` is that of its ADD_CONTAINER."""

    fields: Fields
    hold: Hold


class Containers:
    """All of them, by pid and start time of their first process: pids are used again."""

    def __init__(self, ends: Ends, reporter: Reporter) -> None:
        self._ends = ends
        self._reporter = reporter
        self._containers: dict[tuple[int, int], Container] = {}

    def get(self, pid: int, start_time: int) -> Container | None:
        """A container that was reported already."""
        return self._containers.get((pid, start_time))

    def of_id(self, container_id: str) -> list[Container]:
        """All with this id; one, unless several users or engines gave the same."""
        found = self._containers.values()
        return [one for one in found if one.fields["container_id"] == container_id]

    def add(self, fields: Fields, config: str | None, hold: Hold) -> Container | None:
        """Report a container, and its end when that comes. None if it is gone or was lost."""
        container = Container(fields, hold)
        key = fields["container_pid"], fields["start_time"]
        if self._reporter.is_full():
            return None
        try:
            self._ends.watch(*key, lambda status: self._ended(key, status))
        except ProcessLookupError:
            return None
        except OSError as error:
            self._reporter.lose(f"the end of {fields['container_id']} cannot be awaited: {error}")
            return None
        self._containers[key] = container
        self._reporter.appears(EventType.ADD_CONTAINER, fields, config, hold)
        return container

    def resume(self, fields: Fields) -> None:
        """Watch for the end of a container that the notifier knows of. It may be over."""
        key = fields["container_pid"], fields["start_time"]
        if key in self._containers:
            return
        self._containers[key] = Container(fields, Hold(0, 0))
        try:
            self._ends.watch(*key, lambda status: self._ended(key, status))
        except ProcessLookupError:
            self._ended(key, None)
        except OSError as error:
            del self._containers[key]
            self._reporter.lose(f"the end of {fields['container_id']} cannot be awaited: {error}")

    def _ended(self, key: tuple[int, int], status: int | None) -> None:
        self._reporter.ends(self._containers.pop(key).fields, status)
