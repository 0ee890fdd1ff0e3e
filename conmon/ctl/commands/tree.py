"""conmonctl tree: the processes of containers."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from conmon.ctl import lookup, monitors, options, show, text, watching

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.tree import Tree

    from conmon.watch import ProcessTree
    from conmon.watch.tree.events import ContainerTree, ProcessInfo

#: With --follow, the shortest time between two views, in seconds.
_PAUSE_S = 0.2

EXAMPLES = """
\b
Examples:
  conmonctl tree                    the processes of all containers
  conmonctl tree web db             of these two
  conmonctl tree -f web             as they come and go
  conmonctl tree --json | jq -r '[.name, .pid, .argv[0]] | @tsv'
"""


@dataclass(frozen=True)
class ContainerRow:
    """One container and its processes."""

    known: watching.Known
    tree: ContainerTree

    @property
    def id(self) -> str:
        """Its id."""
        return self.known.id

    @property
    def name(self) -> str:
        """Its name, or nothing."""
        return self.known.name

    @property
    def session(self) -> None:
        """It is no exec session."""

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.known.label


def snapshot(tree: ProcessTree, names: watching.Names) -> list[ContainerRow]:
    """All containers with their processes now, the oldest first."""
    found = []
    for each in tree.snapshot():
        name = each.container.name or names.get(each.container.id)
        found.append(ContainerRow(watching.Known(each.container.id, name), each))
    return sorted(found, key=lambda c: (c.tree.container.start or 0, c.id))


def command_line(process: ProcessInfo) -> str:
    """What a process executes, as a shell would take it, on one line."""
    if not process.argv:
        return "?"
    return text.visible(" ".join(shlex.quote(word) if word else "''" for word in process.argv))


def _numbers(process: ProcessInfo) -> str:
    inside = "" if process.nspid in (None, process.pid) else f" ({process.nspid})"
    return f"{process.pid}{inside}"


def _is_exec(process: ProcessInfo, container: ContainerRow) -> bool:
    return process.session and process.pid != container.tree.container.pid


def plain(container: ContainerRow, threads: bool) -> Iterator[str]:
    """The lines for a pipe: the container, then a process in each, two spaces deeper."""
    yield f"{text.visible(container.label)} {container.id[:12]}"
    for process in container.tree.processes:
        indent = "  " * (process.depth + 1)
        mark = "exec " if _is_exec(process, container) else ""
        yield f"{indent}{_numbers(process)} {mark}{command_line(process)}"
        if threads:
            for tid in process.threads:
                yield f"{indent}  {{{tid}}}"


def drawn(container: ContainerRow, threads: bool) -> Tree:
    """A tree for a terminal: what has no room on its line is cut."""
    from rich.text import Text
    from rich.tree import Tree

    def line(*parts: tuple[str, str]) -> Text:
        return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")

    top = Tree(
        line((text.visible(container.label), "bold"), (f"  {container.id[:12]}", "dim")),
        guide_style="dim",
    )
    path = [top]
    for process in container.tree.processes:
        mark = "exec " if _is_exec(process, container) else ""
        shown = line(
            (f"{_numbers(process)} ", "dim"), (mark, "yellow"), (command_line(process), "")
        )
        del path[process.depth + 1 :]
        path.append(path[-1].add(shown))
        if threads:
            for tid in process.threads:
                path[-1].add(line((f"{{{tid}}}", "dim")))
    return top


def fields(container: ContainerRow, process: ProcessInfo) -> dict[str, Any]:
    """A process as JSON has it."""
    return {
        "container": container.id,
        "name": container.name or None,
        "pid": process.pid,
        "nspid": process.nspid,
        "ppid": process.ppid,
        "forked_by": process.forked_by,
        "depth": process.depth,
        "exec": _is_exec(process, container),
        "start": process.start,
        "argv": process.argv,
        "threads": process.threads,
    }


def _view(containers: Sequence[ContainerRow], threads: bool) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    if not containers:
        return Text("no container is seen on this host", style="dim")
    views: list[RenderableType] = []
    for container in containers:
        if views:
            views.append(Text())
        views.append(drawn(container, threads))
    return Group(*views)


def _note_hidden(shown: Sequence[ContainerRow]) -> None:
    """Say which containers are there, and cannot be seen by who asks."""
    ids = {container.id for container in shown}
    hidden = [
        monitor
        for monitor in monitors.find()
        if monitor.session is None and monitor.id not in ids and monitor.is_hidden()
    ]
    if hidden:
        users = ", ".join(map(str, sorted({monitor.uid for monitor in hidden})))
        show.note(f"{len(hidden)} left out: containers of uid {users} need that user, or root")


def _follow(tree: ProcessTree, words: Sequence[str], threads: bool) -> None:
    """The view, written anew when something has changed, until the containers have ended."""
    from rich.live import Live

    names = watching.Names()
    wanted = {c.id for c in lookup.some(words, snapshot(tree, names))}
    stream = tree.events(initial=False)
    with Live(console=show.console(), auto_refresh=False) as live:
        while True:
            containers = [c for c in snapshot(tree, names) if not words or c.id in wanted]
            live.update(_view(containers, threads), refresh=True)
            if words and not containers:
                return
            if next(stream, None) is None:
                return
            time.sleep(_PAUSE_S)  # what comes meanwhile is in the same view


@click.command("tree", epilog=EXAMPLES, short_help="The processes of containers.")
@options.CONTAINERS
@click.option("-f", "--follow", is_flag=True, help="As they come and go, until ctrl-c.")
@click.option("--threads", is_flag=True, help="Threads too, as {TID}.")
@options.SOURCE
@options.json_option("process")
def command(
    containers: tuple[str, ...], follow: bool, threads: bool, source: str, as_json: bool
) -> None:
    """Show the processes of containers, whichever engine has started them.

    Each has its PID on this host, and in brackets the one in the container. What was brought in
    by an exec session is marked so.
    """
    if follow and (as_json or not show.is_terminal()):
        raise click.UsageError("--follow is for a terminal; `events --processes` is for scripts")
    with watching.process_tree(source) as tree:
        if follow:
            _follow(tree, containers, threads)
            return
        found = lookup.some(containers, snapshot(tree, watching.Names()))
        if not containers:
            _note_hidden(found)
    if as_json:
        for container in found:
            for process in container.tree.processes:
                show.json_line(fields(container, process))
    elif show.is_terminal():
        show.console().print(_view(found, threads))
    else:
        for container in found:
            for line in plain(container, threads):
                click.echo(line)
