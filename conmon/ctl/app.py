"""The commands of conmonctl."""

from __future__ import annotations

import importlib

import click

from conmon import _fastio

#: Each is a module of conmon.ctl.commands, in the order of use.
COMMANDS = (
    "ps", "stats", "logs", "attach", "resize", "reopen", "events", "tree", "supported",
    "completion",
)  # fmt: skip

EPILOG = """
\b
CONTAINER is a name, an id, or the start of one; an exec session is
CONTAINER/SESSION, as `ps` shows it.

\b
Exit status:
  0  done
  1  it failed
  2  the command line is wrong
  3  no such container
  4  several containers are meant
  5  not permitted
  attach: that of the container, or 0 after detaching
"""


class Commands(click.Group):
    """The commands, each imported when it is called for: completion is to be quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of use, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"conmon.ctl.commands.{cmd_name}")
        command: click.Command = module.command
        return command


@click.command(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(_fastio.VERSION_TEXT.split()[2].decode(), prog_name="conmonctl")
def conmonctl() -> None:
    """Look at the monitors of this host's containers, and at the containers through them."""
