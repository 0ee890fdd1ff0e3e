"""conmonctl events: containers and their processes, as they come and go."""

from __future__ import annotations

import collections
import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from conmon.ctl import event_text, monitors, options, show, watching
from conmon.ctl.errors import CtlError
from conmon.oci import runtimes

if TYPE_CHECKING:
    from conmon.watch import ContainerEvent, ContainerNotifier, ProcessTree
    from conmon.watch.tree.events import TreeEvent

T = TypeVar("T")

TYPES = ("pre-create", "add", "remove", "fork", "exec", "exit")
#: More than this that was not printed yet is given up, and counted.
_QUEUE_LIMIT = 100_000

EXAMPLES = """
\b
Examples:
  conmonctl events                            containers, as they begin and end
  conmonctl events --processes --container web
  conmonctl events --no-initial --json | jq -r 'select(.type == "remove") | .id'
  conmonctl events --duration 60 --type add   those of the next minute
"""


class Inbox:
    """What watchers tell, until it is printed. Any thread may put, one takes."""

    def __init__(self) -> None:
        self._items: collections.deque[Any] = collections.deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.lost = 0

    def put(self, item: Any) -> None:
        """Put something in; nothing is waited for."""
        if len(self._items) >= _QUEUE_LIMIT:
            self.lost += 1
            return
        self._items.append(item)
        os.eventfd_write(self._wake, 1)

    def take(self, deadline: float | None) -> list[Any] | None:
        """What is there, in its order; waits for it.

        None at the deadline (seconds, monotonic), or when nobody reads our output any more.
        """
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        out = sys.stdout.fileno()
        poll.register(out, 0)  # POLLERR and POLLHUP come unasked
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        ready = {fd for fd, _ in poll.poll(left)}
        if out in ready or not ready:
            return None
        os.eventfd_read(self._wake)
        items = []
        while self._items:
            items.append(self._items.popleft())
        return items


class Watch:
    """The watchers that were asked for, and what is printed of what they tell."""

    def __init__(
        self,
        words: tuple[str, ...],
        types: tuple[str, ...],
        processes: bool,
        put: Callable[[dict[str, Any]], None],
    ) -> None:
        self.names = watching.Names()
        self._words = words
        self._types = types
        self._processes = processes
        self._put = put

    def container(self, event: ContainerEvent) -> None:
        """Print one event of a container."""
        fields = event_text.container_fields(event)
        fields["name"] = fields["name"] or self.names.get(event.container_id) or None
        self.names.set(event.container_id, event.container_name)
        self._print(fields, event.container_id)
        if fields["type"] == "remove" and not self._processes:
            self.names.forget(event.container_id)

    def process(self, event: TreeEvent) -> None:
        """Print one event of the process tree."""
        fields = event.to_dict()
        container = fields.get("container")
        if container is not None:
            fields["name"] = self.names.get(container) or None
        self._print(fields, container)

    def lost(self, source: str, count: int) -> None:
        """Print that something was lost."""
        self._put({"v": show.VERSION, "type": "lost", "source": source, "count": count})

    def _print(self, fields: dict[str, Any], container: str | None) -> None:
        # What tells of the watching itself is always printed.
        if container is not None:
            name = fields.get("name") or ""
            wanted = not self._words or any(
                word == name or container.startswith(word) for word in self._words
            )
            if not wanted or (self._types and fields["type"] not in self._types):
                return
        self._put(fields)


@contextlib.contextmanager
def _notifier(
    inbox: Inbox, tree: ProcessTree | None, mode: Any, hold: float, initial: bool, pre_create: bool
) -> Iterator[ContainerNotifier]:
    """The watcher of containers. Where they are held, the tree knows them before they go on."""
    from conmon.watch import ContainerNotifier, EventType

    def note(event: ContainerEvent) -> None:
        inbox.put(event)  # first: its processes come behind it
        if tree is not None and event.type is EventType.ADD_CONTAINER:
            # Before its state is written where the tree looks, or where the tree does not look.
            watching.add(tree, event.container_id, event.container_pid, event.runtime)

    with watching.refusals("watch containers"):
        notifier = ContainerNotifier(
            note, initial=initial, pre_create=pre_create, mode=mode, callback_timeout=hold
        )
    with notifier:
        yield notifier


@contextlib.contextmanager
def _processes(inbox: Inbox, source: str, initial: bool) -> Iterator[ProcessTree]:
    """A tree whose events are put into the inbox by a thread."""
    with watching.process_tree(source) as tree:
        stream = tree.events(initial=initial)

        def pass_on() -> None:
            for event in stream:
                inbox.put(event)

        thread = threading.Thread(target=pass_on, name="tree-events", daemon=True)
        thread.start()
        try:
            yield tree
        finally:
            tree.close()
            thread.join()


def _watch_ends(notifier: ContainerNotifier, names: watching.Names) -> None:
    """Have the ends of the monitors' containers told, though their beginnings are not."""
    for monitor in monitors.find():
        pid = monitor.container_pid if monitor.session is None else None
        if pid is not None:
            names.set(monitor.id, monitor.name)
            with contextlib.suppress(OSError, ValueError):
                notifier.add_watch_container_termination(monitor.id, pid)


def _explain(notifier: ContainerNotifier) -> None:
    """Say on stderr how it watches; in a pipe, only what that leaves out."""
    if notifier.limits:
        show.note("watching the state of runtimes (mode notify); this has its limits:")
        for limit in notifier.limits:
            show.note(f"  {limit}")
    elif not notifier.runtimes:
        show.note("there is no runtime to watch yet: " + ", ".join(runtimes.runtime_paths()))
        show.note("RUNTIME_PATH names others; one that is installed there later is watched then")
    elif show.is_terminal(sys.stderr):
        show.note("watching the execution of runtimes (mode hold); ctrl-c ends it")


@click.command(
    "events", epilog=EXAMPLES, short_help="Containers and processes, as they come and go."
)
@click.option(
    "--container",
    "words",
    multiple=True,
    metavar="CONTAINER",
    help="Only of this one: a name, or the start of an id. It need not be there yet.",
)
@click.option("--type", "types", multiple=True, type=click.Choice(TYPES), help="Only of this type.")
@click.option("--processes", is_flag=True, help="Processes of containers too.")
@click.option(
    "--initial/--no-initial", default=True, help="Begin with what is there already (default)."
)
@options.SOURCE
@click.option(
    "--mode",
    type=click.Choice(["auto", "hold", "notify"]),
    default="auto",
    show_default=True,
    help="How containers are noticed: as a runtime is executed, or by its state.",
)
@click.option(
    "--hold",
    type=click.FloatRange(0, 3600, min_open=True, max_open=True),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="The longest that a container is held; on a busy host it may take some time to note it.",
)
@click.option("--duration", type=click.FloatRange(0), help="End after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per event.")
def command(
    words: tuple[str, ...],
    types: tuple[str, ...],
    processes: bool,
    initial: bool,
    source: str,
    mode: str,
    hold: float,
    duration: float | None,
    as_json: bool,
) -> None:
    """Print containers as they begin and end, whichever engine starts them.

    `add` comes before a container's first program is run where it says `held`; nothing is held
    any longer than it takes to note it. With --processes all that forks, executes and exits in
    containers is printed too; `sync` is the end of what was there already, and `lost` says how
    much was missed.
    """
    processes = processes or bool({"fork", "exec", "exit"} & set(types))
    deadline = None if duration is None else time.monotonic() + duration
    inbox = Inbox()
    pretty = event_text.Printer(show.is_terminal())
    put = show.json_line if as_json else pretty.put
    with contextlib.ExitStack() as stack:
        tree = None
        if processes:
            tree = stack.enter_context(_processes(inbox, source, initial))
        pre_create = not types or "pre-create" in types
        notifier = stack.enter_context(_notifier(inbox, tree, mode, hold, initial, pre_create))
        _explain(notifier)
        watch = Watch(words, types, processes, put)
        if not initial:
            _watch_ends(notifier, watch.names)
        lost = 0
        while (items := inbox.take(deadline)) is not None:
            for item in items:
                if hasattr(item, "container_id"):
                    watch.container(item)
                else:
                    watch.process(item)
            statistics = notifier.statistics()
            if inbox.lost + statistics.lost > lost:
                watch.lost("containers", inbox.lost + statistics.lost - lost)
                lost = inbox.lost + statistics.lost
            if not statistics.watching:
                raise CtlError("containers are watched no more: no helper process stays alive")
