"""Fixtures of the integration tests. Every test runs in all four combinations."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .bed import Bed
from .client import Gate, Podman
from .user import TestUser

COMMANDS = ("podman", "crun", "runc", "busybox", "nsenter", "unshare", "setpriv", "useradd")
COMBINATIONS = [(runtime, rootless) for rootless in (False, True) for runtime in ("crun", "runc")]


def _id(combination: tuple[str, bool]) -> str:
    runtime, rootless = combination
    return f"{runtime}-{'rootless' if rootless else 'root'}"


def _cannot(reason: str) -> None:
    """Skip, except in CI, where everything must be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def bed(conmon_path: Path) -> Iterator[Bed]:
    if os.geteuid() != 0:
        _cannot("podman's tests as root and as another user need root")
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        _cannot(f"not installed: {', '.join(missing)} (make deps)")
    bed = Bed(conmon_path)
    try:
        yield bed
        left = bed.monitors()
    finally:
        bed.close()
    assert not left, f"monitors left at the end of the session: {left}"


@pytest.fixture(scope="session")
def rootless_user() -> Iterator[TestUser]:
    user = TestUser()
    yield user
    user.close()


@pytest.fixture(scope="session", params=COMBINATIONS, ids=_id)
def combination(
    request: pytest.FixtureRequest, rootless_user: TestUser, bed: Bed
) -> Podman:
    """podman with one runtime, as root or rootless; its storage lasts for the session."""
    runtime, rootless = request.param
    return Podman(bed, runtime, rootless_user if rootless else None)


@pytest.fixture
def podman(combination: Podman, bed: Bed) -> Iterator[Podman]:
    """The combination, without containers; none of them, and no monitor, outlives the test."""
    yield combination
    try:
        combination.remove_all()
        combination.wait_no_monitor()
    finally:
        # Whatever went wrong is this test's failure, not also the next one's.
        for monitor in combination.monitors():
            bed.kill_tree(monitor.pid)


@pytest.fixture
def shared(podman: Podman) -> Iterator[Path]:
    """A fresh directory that the combination's user owns, for ``-v``."""
    directory = podman.give_directory(podman.dir / "shared" / podman.name())
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def gate(podman: Podman, shared: Path) -> Iterator[Callable[[], Gate]]:
    """Makes gates in the shared directory, named gate1, gate2, ..."""
    made: list[Gate] = []
    numbers = itertools.count(1)

    def make() -> Gate:
        one = Gate(shared / f"gate{next(numbers)}")
        podman.give(one.path)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
