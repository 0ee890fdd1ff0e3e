"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from conmon.ctl import lookup, monitors

F = TypeVar("F", bound=Callable[..., Any])


class MonitorName(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks
    """What names a monitor; the shell completes it with the names that there are."""

    name = "container"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Names by name, and ids once the start of one was typed."""
        item = click.shell_completion.CompletionItem
        found = [m for m in monitors.find() if m.label.isprintable()]
        named = [
            item(m.label, help=m.session or m.id[:12])
            for m in found
            if m.label.startswith(incomplete)
        ]
        return named or [
            item(m.id, help=m.label)
            for m in found
            if m.session is None and m.id.startswith(incomplete)
        ]


CONTAINER = click.argument("container", type=MonitorName())
CONTAINERS = click.argument("containers", nargs=-1, type=MonitorName())
SOURCE = click.option(
    "--source",
    type=click.Choice(["auto", "proc", "audit"]),
    default="auto",
    show_default=True,
    help="Where events of processes come from.",
)


def json_option(what: str) -> Callable[[F], F]:
    """--json: one object per `what`, one per line."""
    return click.option("--json", "as_json", is_flag=True, help=f"One JSON object per {what}.")


def monitor(word: str) -> monitors.Monitor:
    """The monitor that a word means. NoSuchContainer, Ambiguous."""
    return lookup.one(word, monitors.find())


def chosen(words: Sequence[str]) -> list[monitors.Monitor]:
    """The monitors that words mean, all without words. NoSuchContainer, Ambiguous."""
    return lookup.some(words, monitors.find())
