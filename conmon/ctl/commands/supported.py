"""conmonctl supported: what can be watched here, and what would make it more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import click

from conmon.ctl import options, show
from conmon.ctl.errors import Status

_CAP_SYS_PTRACE = 19

EXAMPLES = """
\b
Examples:
  conmonctl supported && conmonctl events
  conmonctl supported --json | jq 'select(.ok | not)'
"""


@dataclass(frozen=True)
class Ability:
    """One thing that was tried. `needed` says what would grant it; `by`: the commands."""

    name: str
    ok: bool
    reason: str
    needed: str
    required: bool
    by: str


def _notifier() -> Iterator[Ability]:
    from conmon.watch import support_details

    for name, one in support_details().items():
        needed = "" if one.ok else one.needed
        yield Ability(name, one.ok, one.reason, needed, one.required, "events")


def _tree() -> Ability:
    from conmon.watch import ProcessTree

    name, by = "events of processes", "tree, events --processes"
    try:
        ProcessTree("proc").close()
    except OSError as error:
        needed = "the host's network namespace, and a kernel with CONFIG_PROC_EVENTS"
        return Ability(name, False, error.strerror or str(error), needed, False, by)
    return Ability(name, True, "works", "", False, by)


def _monitors() -> Ability:
    """Whether monitors of all users can be looked into."""
    name, by = "monitors of other users", "ps, stats"
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("CapEff:"))
    if int(line.split()[1], 16) >> _CAP_SYS_PTRACE & 1:
        return Ability(name, True, "works", "", False, by)
    return Ability(
        name,
        False,
        "Their counters and memory are not shown",
        "CAP_SYS_PTRACE grants it (root)",
        False,
        by,
    )


@click.command(
    "supported", epilog=EXAMPLES, short_help="What can be watched here, and what is missing."
)
@options.json_option("thing that was tried")
def command(as_json: bool) -> int:
    """Tell what can be watched on this host by this user, and what would grant the rest.

    The exit status is 0 if containers can be held before their first program is run (mode hold
    of `events`), else 1. Nothing is changed, and nobody is held.
    """
    abilities = [*_notifier(), _tree(), _monitors()]
    holds = all(one.ok for one in abilities if one.required)
    if as_json:
        for one in abilities:
            show.json_line(
                {
                    "name": one.name,
                    "ok": one.ok,
                    "required": one.required,
                    "reason": None if one.ok else one.reason,
                    "needed": one.needed or None,
                    "used_by": one.by,
                }
            )
    elif show.is_terminal():
        _print(abilities, holds)
    else:
        for one in abilities:
            more = "" if one.ok else f": {one.reason}. {one.needed}"
            click.echo(f"{'yes' if one.ok else 'no '}  {one.name}{more}")
    return Status.OK if holds else Status.FAILURE


def _print(abilities: list[Ability], holds: bool) -> None:
    from rich.padding import Padding
    from rich.text import Text

    screen = show.console()
    for by, group in itertools.groupby(abilities, key=lambda one: one.by):
        screen.print(Text(by, style="bold"))
        for one in group:
            mark = ("yes  ", "green") if one.ok else ("no   ", "bold red")
            screen.print(Padding(Text.assemble(mark, one.name), (0, 0, 0, 2)))
            if not one.ok:
                why = Text.assemble(f"{one.reason}\n", (one.needed, "dim"))
                screen.print(Padding(why, (0, 0, 0, 7)))
    screen.print()
    if holds:
        screen.print("Containers can be held until `events` has noted them (mode hold).")
    else:
        screen.print("Containers cannot be held: `events` goes by runtimes' state (mode notify).")
