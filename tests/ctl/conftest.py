"""Fixtures: conmonctl, and containers that no other test on this machine has."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Container, Guard

from .tmux import Screen
from .tool import Tool

PEER = Path("/usr/bin/conmon")


@pytest.fixture(scope="session")
def conmonctl(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """The command."""
    return Tool(tmp_path_factory.mktemp("bin"))


@pytest.fixture
def make(
    conmon_path: Path, tmp_path: Path, guard: Guard, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Container]]:
    """Makes containers with ids and names of their own: conmonctl sees the whole machine."""
    made: list[Container] = []

    def one(conmon: Path = conmon_path) -> Container:
        root = tmp_path / f"c{len(made)}"
        root.mkdir()
        container = Container(conmon, root, guard)
        cid = uuid.uuid4().hex
        container.options |= {"-c": cid, "-u": cid, "-n": f"name-{cid[:8]}"}
        container.exit_file = container.exit_file.with_name(cid)
        container.allow(f"exits/{cid}")
        made.append(container)
        return container

    try:
        yield one
    finally:
        for container in made:
            container.close()


@pytest.fixture
def container(make: Callable[..., Container]) -> Container:
    """One of them."""
    return make()


@pytest.fixture
def peer() -> Path:
    """The C conmon of the distribution."""
    if not PEER.exists():
        if os.environ.get("CI"):
            pytest.fail("no C conmon (package conmon)")
        pytest.skip("no C conmon (package conmon)")
    return PEER


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """Finds a program that a test calls."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            if os.environ.get("CI"):
                pytest.fail(f"{name} is not installed (make deps)")
            pytest.skip(f"{name} is not installed (make deps)")
        return path

    return find


@pytest.fixture
def screen(
    conmonctl: Tool, guard: Guard, tmp_path: Path, need: Callable[[str], str]
) -> Iterator[Callable[..., Screen]]:
    """Makes real terminals, with conmonctl in the shell's path."""
    need("tmux")
    made: list[Screen] = []

    def one(columns: int, rows: int = 24, shell: str = "sh", **environment: str) -> Screen:
        directory = tmp_path / f"screen{len(made)}"
        directory.mkdir()
        variables = conmonctl.environment(HOME=str(directory), **environment)
        made.append(Screen(directory, variables, columns, rows, shell))
        return made[-1]

    yield one
    for each in made:
        each.close()
