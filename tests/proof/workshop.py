"""A container for each round, which must leave nothing behind."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Container, Guard

from .disturb import Disk, LogFiles, standing_still
from .scene import Scene
from .space import Space

DISK = 200 << 20  # bytes: more than all logs of a round


class Workshop:
    """Makes scenes below `root`, one after the other."""

    def __init__(self, conmon: Path, root: Path, guard: Guard) -> None:
        self._conmon, self._root, self._guard = conmon, root, guard

    @contextmanager
    def scene(self, choice: random.Random, runtime: str = "runtime") -> Iterator[Scene]:
        root = self._root / "round"
        root.mkdir()
        container = Container(self._conmon, root, self._guard, runtime)
        scene = Scene(container, choice)
        try:
            yield scene
            left = self._guard.left()
            assert not left, f"processes left behind: {left}"
            assert not container.unexpected(), f"files left behind: {container.unexpected()}"
        except BaseException as error:
            error.add_note("; ".join(scene.said))
            error.add_note(f"counters: {scene.counters}")
            raise
        finally:
            scene.close()
            container.close()
        shutil.rmtree(root)


@contextmanager
def own_disk(scene: Scene) -> Iterator[tuple[Space, Disk, LogFiles]]:
    """A small disk for the scene's log."""
    space = Space(scene.container.log.parent, DISK)
    try:
        disk = Disk(space.disk, scene.container.pidfile)
        yield space, disk, LogFiles(scene.container, space.disk)
    finally:
        space.close()


def sizes_of(choice: random.Random) -> dict[str, int]:
    """How many bytes a container writes: from nothing to some MB."""
    most = choice.choice((10_000, 1_000_000, 8_000_000, 25_000_000))
    return {"stdout": choice.randrange(most), "stderr": choice.randrange(most // 4)}


def slow_clients(scene: Scene) -> list[str]:
    """What becomes of clients that do not read."""
    policy = scene.choice.choice(("block", "drop"))
    scene.say("slow clients:", policy)
    return ["--attach-slow-client", policy]


def still(scene: Scene) -> None:
    """The monitor stands still for a moment, as if its disk were slow."""
    with standing_still(scene.container.monitor):
        scene.pause()
