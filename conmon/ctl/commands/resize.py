"""conmonctl resize: the size of a container's terminal."""

from __future__ import annotations

import click

from conmon.ctl import control, options
from conmon.ctl.session import terminal_size

EXAMPLES = """
\b
Examples:
  conmonctl resize shell                          to the size of this terminal
  conmonctl resize shell --rows 40 --columns 120
"""

_SIDE = click.IntRange(0, control.SIZE_LIMIT)


@click.command("resize", epilog=EXAMPLES, short_help="Size of a container's terminal.")
@options.CONTAINER
@click.option("--rows", type=_SIDE, help="Height; that of this terminal if not given.")
@click.option("--columns", type=_SIDE, help="Width; that of this terminal if not given.")
def command(container: str, rows: int | None, columns: int | None) -> None:
    """Set the size of a container's terminal."""
    if rows is None or columns is None:
        size = terminal_size()
        if size is None:
            raise click.UsageError("this is no terminal: give --rows and --columns")
        rows = size[0] if rows is None else rows
        columns = size[1] if columns is None else columns
    control.resize(options.monitor(container), rows, columns)
