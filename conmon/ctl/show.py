"""What conmonctl prints: tables and trees on a terminal, stable text in a pipe, or JSON lines.

On a terminal a table is fitted to the width: the columns that matter least go first, and a note
says which. In a pipe nothing is coloured, cut or left out, and a line is a row.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from conmon.ctl.text import visible, visible_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

VERSION = 1


@dataclass(frozen=True)
class Column:
    """One column of a table. Of those with a `rank` the highest goes first when room is short.

    With `alert` a number that is not zero stands out.
    """

    title: str
    right: bool = False
    style: str = ""
    rank: int = 0
    alert: bool = False


# Cells that tell nothing step back, so that the others are seen.
_NOTHING = ("-", "0", "0B", "0.0")


@functools.cache
def console(stderr: bool = False) -> Console:
    """The terminal. Honours NO_COLOR, FORCE_COLOR, TERM and COLUMNS."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False, emoji=False, markup=False)


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether people look at it."""
    return (sys.stdout if stream is None else stream).isatty()


def json_line(fields: Mapping[str, Any]) -> None:
    """Print one object in one line, at once. `v` is the version of what is in it."""
    sys.stdout.write(json.dumps({"v": VERSION, **fields}, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A remark for people, on stderr."""
    text = visible_lines(text)
    if is_terminal(sys.stderr):
        console(stderr=True).print(text, style="dim")
    else:
        sys.stderr.write(text + "\n")


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: fitted and styled on a terminal, plain columns in a pipe."""
    if is_terminal():
        shown = fitted(columns, rows)
        console().print(shown)
        return
    for line in plain(columns, rows):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def plain(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table for a pipe: all columns, whole, two spaces apart."""
    cells = [[column.title for column in columns], *[[visible(c) for c in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = []
    for row in cells:
        padded = [
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(row, widths, columns, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> RenderableType:
    """A table for a terminal, with as many columns as its width allows."""
    from rich.console import Group
    from rich.measure import measure_renderables
    from rich.text import Text

    screen = console()
    kept = list(range(len(columns)))
    while True:
        grid = _grid(columns, rows, kept)
        width = measure_renderables(screen, screen.options.update(max_width=10_000), [grid]).maximum
        spare = [i for i in kept if columns[i].rank]
        if width <= screen.width or not spare:
            break
        kept.remove(max(spare, key=lambda i: columns[i].rank))
    hidden = [column.title for i, column in enumerate(columns) if i not in kept]
    if not hidden:
        return grid
    text = f"too narrow for {', '.join(hidden)}"
    return Group(grid, Text(text, style="dim", overflow="ellipsis", no_wrap=True))


def _grid(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], kept: Sequence[int]
) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for i in kept:
        column = columns[i]
        grid.add_column(
            column.title,
            justify="right" if column.right else "left",
            style=column.style,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        grid.add_row(*[Text(visible(row[i]), style=_style(columns[i], row[i])) for i in kept])
    return grid


def _style(column: Column, cell: str) -> str:
    if cell in _NOTHING:
        return "dim"
    return "yellow" if column.alert else ""
