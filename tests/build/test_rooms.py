"""Who may import whom, as the packages' __init__ files say."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness_build import TOP

#: room -> what its modules may import of conmon, beside each other; a name with what is below it
MAY_IMPORT = {
    "conmon": [],
    "conmon.host": [],
    "conmon.oci": ["conmon.host", "conmon.options"],
    "conmon.watch.tree": ["conmon.host", "conmon.oci"],
    "conmon.watch.sources": ["conmon.host", "conmon.watch.tree"],
    "conmon.watch.events": ["conmon.host", "conmon.oci"],
    "conmon.watch": ["conmon.host", "conmon.watch"],
    "conmon.ctl": ["conmon", "conmon.host", "conmon.oci", "conmon.watch"],
    "conmon.ctl.commands": ["conmon", "conmon.ctl", "conmon.host", "conmon.oci", "conmon.watch"],
}


def rooms() -> list[str]:
    """Every package that there is."""
    found = (path.parent for path in TOP.glob("conmon/**/__init__.py"))
    return sorted(str(path.relative_to(TOP)).replace("/", ".") for path in found)


def imported(path: Path) -> Iterator[str]:
    """The modules of conmon that a file imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("conmon"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("conmon"):
            for alias in node.names:
                below = TOP / f"{node.module}.{alias.name}".replace(".", "/")
                is_module = below.with_suffix(".py").exists() or below.with_suffix(".pyx").exists()
                yield f"{node.module}.{alias.name}" if is_module else str(node.module)


def room_of(module: str) -> str:
    """The package that a module is in, or is."""
    return module if module in rooms() else module.rpartition(".")[0]


def test_every_room_is_known() -> None:
    """A new package says what it may import."""
    assert rooms() == sorted(MAY_IMPORT)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_imports(room: str) -> None:
    """A module imports its own room and those that its room may; there is no circle of rooms."""
    allowed = MAY_IMPORT[room]
    for path in (TOP / room.replace(".", "/")).glob("*.py"):
        for module in imported(path):
            where = room_of(module)
            fits = where == room or module in allowed or any(
                where == name or (name != "conmon" and where.startswith(name + "."))
                for name in allowed
            )  # fmt: skip
            assert fits, f"{path.relative_to(TOP)} imports {module}"


def test_commands_do_not_import_each_other() -> None:
    """What two commands share is in conmon.ctl."""
    for path in TOP.glob("conmon/ctl/commands/*.py"):
        assert not [name for name in imported(path) if name.startswith("conmon.ctl.commands")]
