"""Options, markers and fixtures that the tests of a whole conmon binary share."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from harness import Container, Guard, conmon_version, is_peer
from harness_os import ordinary_signals
from harness_rooms import Rooms
from hypothesis import HealthCheck, settings

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent / "build" / "conmon"
#: marker -> what has it: directories and files
MARKED = {
    "podman": ("ctl/test_podman.py", "machine", "proof/test_podman.py", "real_podman",
               "watch/test_tree_podman.py"),
    "root": ("ctl/test_podman.py", "machine", "proof/test_podman.py", "real_podman", "watch"),
    "slow": ("build", "contract/test_many.py", "faults", "fuzz", "proof"),
}  # fmt: skip
FAILED = pytest.StashKey[bool]()  # or skipped half-way: what it leaves says nothing

# No test depends on how fast the machine is.
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conmon")
    group.addoption(
        "--conmon",
        metavar="PATH",
        type=lambda path: Path(path).absolute(),
        default=BUILT,
        help="conmon binary under test (default: build/conmon of this checkout)",
    )
    group.addoption(
        "--run-ours",
        action="store_true",
        help="run the tests marked `ours` with a C conmon too, to see which of them it fails",
    )
    group.addoption(
        "--many", type=int, default=2000, metavar="N",
        help="how many containers and sessions tests/contract/test_many.py runs, and ten times as "
        "many as the monitors that it has at one time (default: 2000)",
    )  # fmt: skip
    group.addoption(
        "--proof-seconds",
        metavar="N",
        type=float,
        default=60.0,
        help="how long the rounds of tests/proof go on, all together (default: %(default)s)",
    )
    group.addoption(
        "--proof-seed",
        metavar="N",
        type=int,
        help="seed of the first round of each test of tests/proof (default: a random one)",
    )
    group.addoption(
        "--sandbox", metavar="MODE",
        help="give every conmon of ours this --sandbox, for one whole run under strict",
    )  # fmt: skip
    group.addoption(
        "--examples", type=int, default=50, metavar="N",
        help="how many orders tests/contract/test_interleavings.py tries (default: 50)",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    ordinary_signals()
    Rooms.sandbox = config.getoption("--sandbox")
    config.addinivalue_line(
        "markers",
        "ours(why): where the C conmon differs or has a fault; skipped when one is under test",
    )
    config.addinivalue_line(
        "markers",
        "real_processor(why): too slow for an emulated one, which CONMON_EMULATED says that it is",
    )


@pytest.hookimpl(tryfirst=True)  # before -m looks at them
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for name, places in MARKED.items():
            if any(item.path.is_relative_to(HERE / place) for place in places):
                item.add_marker(name)
    if os.environ.get("CONMON_EMULATED"):
        for item in items:
            if mark := item.get_closest_marker("real_processor"):
                item.add_marker(pytest.mark.skip(reason=f"processor is emulated: {mark.args[0]}"))
    path: Path = config.getoption("--conmon")
    marked = [(item, mark) for item in items if (mark := item.get_closest_marker("ours"))]
    if not marked or config.getoption("--run-ours") or not os.access(path, os.X_OK):
        return  # a missing binary is an error of each test, not a reason to skip
    if is_peer(path):
        version = ".".join(map(str, conmon_version(path)))
        for item, mark in marked:
            item.add_marker(pytest.mark.skip(reason=f"C conmon {version}: {mark.args[0]}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or not report.passed
    return report


@pytest.fixture(scope="session")
def conmon_path(request: pytest.FixtureRequest) -> Path:
    """Absolute path of the conmon binary under test."""
    path: Path = request.config.getoption("--conmon")
    if not os.access(path, os.X_OK):
        pytest.fail(f"no conmon binary at {path}: run make, or give --conmon PATH")
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)  # pages that are not on the disk yet count as dirty memory of who maps them
    os.close(fd)
    return path


@pytest.fixture
def guard(request: pytest.FixtureRequest) -> Iterator[Guard]:
    """Ends whatever the test leaves running, and fails the test for it."""
    with Guard() as guard:
        yield guard
        if not request.node.stash.get(FAILED, False):
            left = guard.left()
            assert not left, f"processes left behind: {left}"


@pytest.fixture
def container(
    conmon_path: Path, tmp_path: Path, guard: Guard, request: pytest.FixtureRequest
) -> Iterator[Container]:
    """A place for one container. Processes or files left behind fail the test."""
    container = Container(conmon_path, tmp_path, guard)
    try:
        yield container
        if not request.node.stash.get(FAILED, False):
            left = guard.left()
            assert not left, f"processes left behind: {left}"
            assert not container.unexpected(), "files left behind"
    finally:
        container.close()
