"""Fixtures of the tests that need a machine of their own: `make check-vm` starts one.

They write into /etc, make a user and start units: never where somebody works.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .engine import Engine, install, make_user, remove_units, write_unit

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip all of these where nobody has said that the machine is for them."""
    if os.environ.get("CONMON_MACHINE"):
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="for a machine of its own: make check-vm"))


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The conmon under test in its place, podman's settings, and the image as a tar file."""
    return install(tmp_path_factory.mktemp("image") / "image.tar")


@pytest.fixture(scope="session")
def root(installed: Path) -> Engine:
    """podman as root, with the settings that a system has."""
    return Engine(None, installed, "runc")


@pytest.fixture(scope="session")
def user(installed: Path) -> Engine:
    """podman as a user who has a service manager of his own."""
    return Engine(make_user(), installed, "crun")


@pytest.fixture(params=["root", "rootless"])
def owner(request: pytest.FixtureRequest) -> Engine:
    """podman as root, and as a user."""
    engine: Engine = request.getfixturevalue("root" if request.param == "root" else "user")
    return engine


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """No container and no monitor outlives a test, but for what a reboot is to find."""
    names = [name for name in ("root", "user", "owner") if name in request.fixturenames]
    engines = [request.getfixturevalue(name) for name in names]
    yield
    if request.path.name == "test_reboot.py":
        return
    for engine in engines:
        engine("rm", "--all", "--force", "--time", "0")
        engine.wait_no_monitor()


@pytest.fixture
def unit(root: Engine) -> Iterator[Callable[..., str]]:
    """Writes a unit or a quadlet file, and returns the name of the service."""
    numbers = itertools.count(1)
    made: list[str] = []

    def write(text: str, suffix: str = "container") -> str:
        name = f"t{os.getpid()}-{next(numbers)}"
        made.append(write_unit(name, suffix, text))
        return name

    yield write
    remove_units(made)
