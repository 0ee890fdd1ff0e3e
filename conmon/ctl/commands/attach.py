"""conmonctl attach: take part in a running container."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import click

from conmon.ctl import access, control, keys, options, show
from conmon.ctl.ending import Ending
from conmon.ctl.errors import CtlError, Status
from conmon.ctl.monitors import Monitor
from conmon.ctl.session import Outcome, Session, raw_terminal, terminal_size

#: The longest that a monitor may take from closing its clients to the exit file, in seconds.
_EXIT_FILE_S = 10.0

EXAMPLES = """
\b
Examples:
  conmonctl attach web                            ctrl-p ctrl-q leaves it again
  conmonctl attach --detach-keys ctrl-x web
  conmonctl attach --no-stdin web | grep error
  conmonctl attach web/7996                       an exec session
"""


class DetachKeys(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks
    """A click type for sequences of keys."""

    name = "keys"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """Read it."""
        if isinstance(value, bytes):
            return value
        try:
            return keys.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _connect(monitor: Monitor) -> socket.socket:
    """Connect to the attach socket. CtlError."""
    directory = monitor.attach_directory
    if directory is None:
        raise CtlError(f"{monitor.label} cannot be attached to: it was started without a socket")
    with access.explained(monitor, "attach to"):
        # By the open file: an address has room for 107 bytes only.
        fd = os.open(f"{directory}/attach", os.O_PATH | os.O_CLOEXEC)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(f"/proc/self/fd/{fd}")
        except OSError:
            connection.close()
            raise
        finally:
            os.close(fd)
    return connection


@contextlib.contextmanager
def _at_terminal(monitor: Monitor, interactive: bool) -> Iterator[None]:
    """This terminal passes every key on, if the container has a terminal too."""
    if not interactive:
        yield
        return
    _resize(monitor)
    with raw_terminal(sys.stdin.fileno()):
        yield


def _resize(monitor: Monitor) -> None:
    """Give the container's terminal our size. That it cannot be done is no reason to end."""
    size = terminal_size()
    if size is not None:
        with contextlib.suppress(CtlError):
            control.resize(monitor, *(min(side, control.SIZE_LIMIT) for side in size))


@click.command("attach", epilog=EXAMPLES, short_help="Take part in a running container.")
@options.CONTAINER
@click.option(
    "--detach-keys",
    type=DetachKeys(),
    default="ctrl-p,ctrl-q",
    show_default=True,
    envvar="CONMONCTL_DETACH_KEYS",
    show_envvar=True,
    help="Keys that end it and leave the container running; '' for none.",
)
@click.option("--no-stdin", is_flag=True, help="Only look: nothing is read from stdin.")
def command(container: str, detach_keys: bytes, no_stdin: bool) -> int:
    """Attach to a running container, or to an exec session.

    Where both sides have a terminal every key goes to the container, and its terminal takes the
    size of this one. Elsewhere ctrl-c ends it, and the container runs on. Who leaves a container
    that has stdin but no terminal (podman run -i) ends its input, unless with --no-stdin. The
    exit status is the container's, or 0 after detaching.
    """
    monitor = options.monitor(container)
    send = monitor.options.stdin or monitor.options.terminal
    interactive = monitor.options.terminal and not no_stdin and sys.stdin.isatty()
    talks = sys.stdin.isatty()
    stdin = None if no_stdin else sys.stdin.fileno()
    with Ending(monitor) as ending:
        with contextlib.closing(_connect(monitor)) as connection:
            session = Session(
                connection,
                keys.Matcher(detach_keys if interactive else b""),
                send,
                lambda: _resize(monitor) if interactive else None,
            )
            with _at_terminal(monitor, interactive):
                outcome = session.run(stdin)
        if outcome is Outcome.DETACHED:
            if talks:
                show.note(f"\ndetached from {monitor.label}")
            return Status.OK
        if outcome is Outcome.NO_READER:
            return Status.OK
        return _ended(monitor, ending, talks)


def _ended(monitor: Monitor, ending: Ending, talks: bool) -> int:
    """The monitor has closed the connection: the container's exit status."""
    if ending.container_lives():
        raise CtlError(f"the monitor of {monitor.label} has closed the connection; it runs on")
    status = ending.status(_EXIT_FILE_S)
    if status is None:
        raise CtlError(f"{monitor.label} has ended; its exit status is not known here")
    if talks:
        show.note(f"{monitor.label} has ended with status {status}")
    return status & 0xFF
