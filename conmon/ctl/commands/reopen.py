"""conmonctl reopen: go on in a new log, after the old one was moved away."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from conmon.ctl import access, control, options
from conmon.ctl.errors import CtlError
from conmon.ctl.monitors import Monitor

_ANSWER_S = 10.0
_PAUSE_S = 0.005

EXAMPLES = """
\b
Examples:
  mv ctr.log ctr.log.1 && conmonctl reopen web    what logrotate does
  conmonctl reopen --all
"""


def log_in_place(monitor: Monitor) -> bool:
    """Whether the file that has the log's name is the one that the monitor writes to. OSError."""
    try:
        named = os.stat(monitor.reach(monitor.log_plan.path or b""))
    except FileNotFoundError:
        return False
    directory = Path(f"/proc/{monitor.pid}/fd")
    for name in os.listdir(directory):
        try:
            open_file = os.stat(directory / name)
        except FileNotFoundError:
            continue
        if os.path.samestat(named, open_file):
            return True
    return False


def _reopens(monitor: Monitor) -> int | None:
    """How often the log was reopened on request; None of a C conmon."""
    return (monitor.counters() or {}).get("reopens")


def reopen(monitor: Monitor, force: bool) -> None:
    """Ask for it, and wait until it is done. CtlError."""
    if monitor.log_plan.path is None:
        raise CtlError(f"{monitor.label} logs to no file")
    with access.explained(monitor, "look at the log of"):
        before = _reopens(monitor)
        in_place = log_in_place(monitor)
    if in_place and before is None and not monitor.options.log_rotate and not force:
        raise CtlError(
            f"the log of {monitor.label} is still in its place, and its C conmon would empty it",
            "move the log away first; --force does it all the same",
        )
    control.reopen(monitor)
    deadline = time.monotonic() + _ANSWER_S
    with access.explained(monitor, "look at the log of"):
        # Polled: a counter changes without an event.
        while _reopens(monitor) == before if before is not None else not log_in_place(monitor):
            if time.monotonic() > deadline:
                raise CtlError(f"the monitor of {monitor.label} does not answer")
            time.sleep(_PAUSE_S)
        while not log_in_place(monitor):  # it is counted before it is done
            if time.monotonic() > deadline:
                raise CtlError(f"the monitor of {monitor.label} could not open a new log")
            time.sleep(_PAUSE_S)


@click.command("reopen", epilog=EXAMPLES, short_help="New logs for those that were moved away.")
@options.CONTAINERS
@click.option("--all", "every", is_flag=True, help="All containers that log to a file.")
@click.option("--force", is_flag=True, help="Also where a C conmon would empty the log.")
def command(containers: tuple[str, ...], every: bool, force: bool) -> None:
    """Have monitors open their k8s-file logs anew, and wait until they have.

    For logs that were moved away: the monitor makes a new one of the same name. With
    --log-rotate it rotates. One that is still in its place stays as it is; a C conmon would
    empty it, so that is refused.
    """
    if every == bool(containers):
        raise click.UsageError("give containers, or --all")
    chosen = options.chosen(containers)
    if every:
        chosen = [monitor for monitor in chosen if monitor.log_plan.path is not None]
    for monitor in chosen:
        reopen(monitor, force)
