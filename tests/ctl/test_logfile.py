"""The files of a log that is rotated while they are looked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conmon.ctl import logfile
from conmon.ctl.follow import catch_up

FILES = 12


def rotations(log: Path) -> Iterator[None]:
    """Rotate as the monitor does (C11), one system call a step; each file has one record."""
    for count in range(1, FILES):
        free = next(n for n in range(1, FILES) if not log.with_name(f"{log.name}.{n}").exists())
        for number in range(free, 1, -1):
            old = log.with_name(f"{log.name}.{number - 1}")
            old.rename(log.with_name(f"{log.name}.{number}"))
            yield
        log.rename(log.with_name(f"{log.name}.1"))
        yield
        log.touch()
        yield
        log.write_text(f"{count}\n")
        yield


def busy(steps: Iterator[None], pauses: list[int]) -> SimpleNamespace:
    """The module os, with so many steps of another process before each look at the directory."""
    waits = iter(pauses)

    def looking(call: Any) -> Any:
        def wrapped(*args: Any, **settings: Any) -> Any:
            for _ in range(next(waits, 0)):
                next(steps, None)
            return call(*args, **settings)

        return wrapped

    names = {name: getattr(os, name) for name in dir(os)}
    return SimpleNamespace(
        **names | {name: looking(names[name]) for name in ("stat", "open", "listdir")}
    )


def words(batches: Iterator[list[bytes]]) -> list[int]:
    return [int(record) for batch in batches for record in batch]


@given(pauses=st.lists(st.integers(0, 40), max_size=120))
def test_none_is_missed_or_met_twice(pauses: list[int]) -> None:
    """C11: whatever is renamed between two looks, files are read in their order, each once."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        path = Path(name) / "ctr.log"
        path.write_text("0\n")
        steps = rotations(path)
        log = logfile.Log(str(path))
        patch.setattr(logfile, "os", busy(steps, pauses))
        found = words(log.file.read()) + words(catch_up(log))
        patch.undo()
        for _ in steps:
            pass
        found += words(catch_up(log))
        log.close()
        assert found == list(range(FILES))


@given(begun=st.integers(0, 100), pauses=st.lists(st.integers(0, 40), max_size=120))
def test_backups_in_their_order(begun: int, pauses: list[int]) -> None:
    """C11: so are those that were rotated before; none is left out but what has gone."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        path = Path(name) / "ctr.log"
        path.write_text("0\n")
        steps = rotations(path)
        for _ in range(begun):
            next(steps, None)
        if not path.exists():  # between two steps of a rotation
            next(steps)
        log = logfile.Log(str(path))
        patch.setattr(logfile, "os", busy(steps, pauses))
        files = log.backups()
        found = [number for file in files for number in words(file.read())]
        patch.undo()
        for file in files:
            file.close()
        assert found == list(range(len(list(found))))
        own = words(log.file.read())
        log.close()
        assert not own or own == [len(found)]
