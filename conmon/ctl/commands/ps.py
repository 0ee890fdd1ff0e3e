"""conmonctl ps: the monitors of this host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import click

from conmon.ctl import lookup, monitors, options, show, text
from conmon.ctl.counters import SANDBOX, sandbox
from conmon.ctl.monitors import Monitor
from conmon.host import procfs

COLUMNS = (
    show.Column("CONTAINER", style="dim"),
    show.Column("NAME", style="bold"),
    show.Column("PID", right=True, rank=3),
    show.Column("MONITOR", right=True, rank=6),
    show.Column("RUNTIME", rank=4),
    show.Column("UP", right=True),
    show.Column("LOG", rank=5),
    show.Column("BYTES", right=True, rank=1),
    show.Column("DROPS", right=True, alert=True, rank=2),
    show.Column("CLIENTS", right=True, rank=7),
    show.Column("MEMORY", right=True),
    show.Column("SANDBOX", rank=8),
)

EXAMPLES = """
\b
Examples:
  conmonctl ps                      all monitors of this host
  conmonctl ps web db               these two
  conmonctl ps --json | jq .name    for a script
"""


@dataclass(frozen=True)
class Row:
    """What is known of one monitor now; None where there is nothing, or it may not be seen."""

    monitor: Monitor
    counters: dict[str, int] | None
    memory: int | None
    refused: bool

    @property
    def dropped(self) -> int | None:
        """Bytes of the container's output that no log has."""
        if self.counters is None:
            return None
        return self.counters.get("bytes_dropped", 0) + self.counters.get("entry_bytes_dropped", 0)

    @property
    def sandbox(self) -> list[str] | None:
        """What the monitor has given up."""
        return None if self.counters is None else sandbox(self.counters)

    def count(self, name: str) -> int | None:
        """One counter."""
        return None if self.counters is None else self.counters.get(name)

    def fields(self) -> dict[str, Any]:
        """As JSON has it: bytes, seconds, whole ids."""
        m = self.monitor
        return {
            "id": m.id,
            "name": m.name or None,
            "session": m.session,
            "pid": m.container_pid,
            "monitor_pid": m.pid,
            "monitor_uid": m.uid,
            "runtime": m.runtime,
            "started": text.timestamp(procfs.start_time(m.stat.start)),
            "uptime_s": round(procfs.uptime(m.stat.start), 2),
            "terminal": m.options.terminal,
            "log_drivers": m.log_drivers,
            "bytes": self.count("bytes_in"),
            "dropped_bytes": self.dropped,
            "clients": self.count("clients_now"),
            "private_dirty_bytes": self.memory,
            "sandbox": self.sandbox,
        }

    def cells(self, whole: bool) -> list[str]:
        """As the table has it."""
        m = self.monitor
        return [
            m.id if whole else m.id[:12],
            m.label if m.name or m.session else "-",
            str(m.container_pid or "-"),
            str(m.pid),
            PurePath(m.runtime).name,
            text.duration(procfs.uptime(m.stat.start)),
            ",".join(m.log_drivers),
            text.size(self.count("bytes_in")),
            text.size(self.dropped),
            text.count(self.count("clients_now")),
            text.size(self.memory),
            in_short(self.sandbox),
        ]


def in_short(given_up: list[str] | None) -> str:
    """What a monitor has given up, as a word or a few."""
    if given_up is None:
        return "-"
    return "all" if len(given_up) == len(SANDBOX) else ",".join(given_up) or "none"


def look(monitor: Monitor) -> Row | None:
    """Look at one monitor; None if it has ended."""
    refused = False
    counters: dict[str, int] | None = None
    memory: int | None = None
    try:
        counters = monitor.counters()
        memory = monitor.private_dirty()
    except PermissionError:
        refused = True
    except OSError:
        return None
    return Row(monitor, counters, memory, refused) if monitor.alive() else None


@click.command("ps", epilog=EXAMPLES, short_help="The monitors of this host.")
@options.CONTAINERS
@options.json_option("monitor")
@click.option("-q", "--quiet", is_flag=True, help="Ids of the containers only.")
@click.option("--no-trunc", "whole", is_flag=True, help="Whole ids.")
def command(containers: tuple[str, ...], as_json: bool, quiet: bool, whole: bool) -> None:
    """List the monitors on this host, ours and C conmon's.

    PID is the container's, MONITOR the monitor's. BYTES came from the container, DROPS of them
    are in no log, CLIENTS are attached now, MEMORY is what the monitor has for itself alone.
    SANDBOX is what it has given up: no_new_privs (nnp), capabilities (caps), other directories
    (landlock), other system calls (seccomp), or all. A dash is what a monitor does not tell: a C
    conmon has no counters. An exec session is shown as CONTAINER/SESSION, also when its container
    was named.
    """
    found = monitors.find()
    chosen = lookup.some(containers, found)
    named = {monitor.id for monitor in chosen if monitor.session is None}
    chosen = [monitor for monitor in found if monitor in chosen or monitor.id in named]
    if quiet:
        for monitor in chosen:
            if monitor.session is None:
                click.echo(text.visible(monitor.id))
        return
    rows = [row for monitor in chosen if (row := look(monitor))]
    if as_json:
        for row in rows:
            show.json_line(row.fields())
        return
    if rows or not show.is_terminal():
        show.table(COLUMNS, [row.cells(whole) for row in rows])
    else:
        show.note("no monitor runs on this host")
    refused = sorted({row.monitor.uid for row in rows if row.refused})
    if refused:
        users = ", ".join(map(str, refused))
        show.note(f"counters and memory of uid {users} need that user, or CAP_SYS_PTRACE")
