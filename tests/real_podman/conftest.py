"""Fixtures of the integration tests. Every test runs in all four combinations.

They last for a file: what is set up takes half a second, and holds processes that other tests of
the same session would take for their own.
"""

import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .bed import Bed
from .client import Gate, Podman
from .combinations import ROOT, ROOTLESS, cannot, combination_id
from .user import TestUser

COMMANDS = ("podman", "crun", "runc", "busybox", "nsenter", "unshare", "setpriv", "useradd")


@pytest.fixture(scope="module")
def prerequisites() -> None:
    """Root, and the programs that the tests call."""
    if os.geteuid() != 0:
        cannot("podman's tests as root and as another user need root")
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        cannot(f"not installed: {', '.join(missing)} (make deps)")


@pytest.fixture(scope="module")
def rootless_user(prerequisites: None) -> Iterator[TestUser]:
    user = TestUser()
    yield user
    user.close()


@pytest.fixture(scope="module")
def bed(
    conmon_path: Path, rootless_user: TestUser, request: pytest.FixtureRequest
) -> Iterator[Bed]:
    """The test bed. It goes before the user, whose processes run in it."""
    # A session that is told to end still tears down.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    bed = Bed(conmon_path, request.config.getoption("--sandbox"))
    try:
        yield bed
        left = bed.monitors()
    finally:
        bed.close()
        signal.signal(signal.SIGTERM, previous)
    assert not left, f"monitors left at the end: {left}"


@pytest.fixture(scope="module")
def podmans() -> dict[tuple[str, bool], Podman]:
    """The combinations that were set up so far; their storage lasts as long."""
    return {}


@pytest.fixture(scope="module", params=ROOT + ROOTLESS, ids=combination_id)
def combination(
    request: pytest.FixtureRequest,
    podmans: dict[tuple[str, bool], Podman],
    rootless_user: TestUser,
    bed: Bed,
) -> Podman:
    """podman with one runtime, as root or rootless."""
    if request.param not in podmans:
        runtime, rootless = request.param
        podmans[request.param] = Podman(bed, runtime, rootless_user if rootless else None)
    return podmans[request.param]


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
