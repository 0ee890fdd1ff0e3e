"""Fixtures for tests of container watching. They need root and runc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness import Guard
from harness_os import TIMEOUT_S
from harness_watch import BUSYBOX, CLASSIC_CONMON, RUNC, Notify, Recorder, Room

from conmon.watch import ContainerEvent, ContainerNotifier, support_details
from conmon.watch.events.support import missing


def cannot(reason: str) -> None:
    """Skip what cannot be had, except in CI, where everything must be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def prerequisites() -> None:
    """What every test of held containers needs."""
    for name, path in (("runc", RUNC), ("busybox", BUSYBOX)):
        if path is None:
            cannot(f"{name} is not installed (make deps WHAT=test)")
    if lacking := missing(support_details()):
        cannot("; ".join(lacking))


def next_tick() -> None:
    """Wait until what has begun began in an earlier tick: start times are counted in these, so a
    notifier takes a container of the tick in which it is made itself for one that came later.
    """
    per_tick = 1 / os.sysconf("SC_CLK_TCK")
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    end = (now // per_tick + 1) * per_tick
    while (now := time.clock_gettime(time.CLOCK_BOOTTIME)) < end:
        time.sleep(end - now)


@pytest.fixture
def room(prerequisites: None, tmp_path: Path, guard: Guard) -> Iterator[Room]:
    """A place for containers; none of them outlives the test."""
    room = Room(tmp_path)
    try:
        yield room
    finally:
        room.close()


@pytest.fixture
def notify(room: Room) -> Iterator[Notify]:
    """Makes notifiers that watch the room's runtime, and ends them."""
    with ExitStack() as stack:

        def make(callback: Recorder, **settings: Any) -> ContainerNotifier:
            settings.setdefault("runtime_paths", [room.runtime])
            settings.setdefault("callback_timeout", 4 * TIMEOUT_S)

            def own(event: ContainerEvent) -> None:
                # others may run containers on this host at the same time
                if not event.bundle or event.bundle.startswith(f"{room.dir}/"):
                    callback(event)

            next_tick()
            return stack.enter_context(ContainerNotifier(own, **settings))

        yield make


@pytest.fixture(params=["ours", "classic"])
def any_conmon(request: pytest.FixtureRequest, conmon_path: Path) -> Path:
    """The conmon under test, and the C one that is installed."""
    if request.param == "ours":
        return conmon_path
    if not CLASSIC_CONMON.exists():
        cannot("no C conmon is installed (make deps WHAT=test)")
    return CLASSIC_CONMON
