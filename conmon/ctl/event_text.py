"""Events as JSON, and as lines for people."""

from __future__ import annotations

import datetime as dt
import shlex
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from conmon.ctl import show
from conmon.ctl.text import duration, visible

if TYPE_CHECKING:
    from conmon.watch import ContainerEvent

_TYPES = {0: "add", 1: "remove", 2: "pre-create"}
_STYLES = {"add": "green", "remove": "red", "pre-create": "dim", "lost": "bold yellow"}
_QUIET = ("fork", "exec", "exit", "sync")


def container_fields(event: ContainerEvent) -> dict[str, Any]:
    """A container's event as JSON has it; what is not known is null."""
    fields: dict[str, Any] = {
        "v": show.VERSION,
        "type": _TYPES[event.type],
        "id": event.container_id,
        "name": event.container_name or None,
        "pid": event.container_pid or None,
        "bundle": event.bundle or None,
        "runtime": event.runtime or None,
        "monitor_pid": event.conmon_pid or None,
        "uid": event.uid,
        "paused": event.paused,
        "source": str(event.source),
        "start": event.start_time,
        "mono_ns": event.mono_ns,
        "time": _utc(event.wall_ns),
    }
    if fields["type"] == "remove":
        del fields["paused"]
        fields |= {"exit_status": event.exit_status, "signal": event.exit_signal}
    return fields


def _utc(ns: int) -> str:
    """RFC 3339 with microseconds."""
    moment = dt.datetime.fromtimestamp(ns / 1e9, dt.UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Printer:
    """Prints events as lines: time, type, container, and what there is to say."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal

    def put(self, fields: dict[str, Any]) -> None:
        """Print one."""
        kind = fields["type"]
        container = fields.get("id") or fields.get("container") or ""
        name = visible(fields.get("name") or container[:12] or "-")
        what = " ".join(visible(part) for part in _details(fields) if part)
        parts = (self._time(fields), f"{kind:<10}", f"{name:<16}", what)
        if not self._terminal:
            sys.stdout.write("  ".join(parts).rstrip() + "\n")
            sys.stdout.flush()
            return
        from rich.text import Text

        line = Text.assemble(
            (parts[0], "dim"), "  ", (parts[1], _STYLES.get(kind, "")), "  ",
            (parts[2], "" if kind in _QUIET else "bold"), "  ", parts[3],
        )  # fmt: skip
        show.console().print(line, no_wrap=True, overflow="ellipsis")

    def _time(self, fields: dict[str, Any]) -> str:
        text = fields.get("time")
        moment = dt.datetime.fromisoformat(text) if text else dt.datetime.now(dt.UTC)
        local = moment.astimezone()
        if self._terminal:
            return local.strftime("%H:%M:%S.") + f"{local.microsecond // 1000:03}"
        return local.isoformat(timespec="milliseconds")


def _details(fields: dict[str, Any]) -> list[str]:
    """What there is to say of an event, in words of a line."""
    kind = fields["type"]
    if kind in ("add", "pre-create"):
        return [
            fields["id"][:12],
            f"pid {fields['pid']}" if fields["pid"] else "",
            PurePath(fields["runtime"] or "").name,
            "held" if fields["paused"] else "",
        ]
    if kind == "remove":
        return [fields["id"][:12], _ending(fields["exit_status"], fields["signal"])]
    if kind == "lost":
        count = "events" if fields["count"] is None else f"{fields['count']} events"
        return [count, f"({fields['source']})", "compared with /proc" * fields.get("resynced", 0)]
    if kind == "sync":
        return [f"{fields['processes']} processes in {fields['containers']} containers"]
    inside = f"({fields['nspid']})" if fields.get("nspid") else ""
    words = [str(fields["pid"]), inside]
    if kind == "exit":
        lasted = fields["duration_ns"]
        after = f"after {_lasted(lasted)}" if lasted is not None else ""
        return [*words, _ending(fields["code"], fields["signal"]), after]
    if kind == "fork":
        words.append(f"of {fields['ppid']}")
    return [*words, shlex.join(fields["argv"] or ())]


def _ending(code: int | None, signal: int | None) -> str:
    if signal:
        return f"signal {signal}"
    return "status unknown" if code is None else f"status {code}"


def _lasted(ns: int) -> str:
    seconds = ns / 1e9
    return f"{seconds:.3f}s" if seconds < 10 else duration(seconds)
