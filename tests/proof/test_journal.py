"""Numbered lines into a journal that rests, goes away and comes again."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from .check import Piece, complete, expect, missing, split_markers
from .conftest import Proof
from .disturb import standing_still
from .receiver import Receiver
from .scene import Scene
from .workshop import Workshop, own_disk, slow_clients, still

pytestmark = pytest.mark.ours("it loses output, and does not count it")


def restart(scene: Scene, journal: Receiver) -> None:
    """The journal goes, without what it had not taken yet; or it comes again."""

    def quietly(action: Callable[[], None]) -> None:
        with standing_still(scene.container.monitor):
            action()

    journal.toggle(quietly)


def test_journal(proof: Proof, numbered: Path, workshop: Workshop) -> None:
    """C18, C12: each byte is in one entry, in its order, or counted as dropped."""

    def play(seed: int, choice: random.Random) -> None:
        with workshop.scene(choice) as scene:
            most = choice.choice((10_000, 500_000, 5_000_000))
            sizes = {"stdout": choice.randrange(most), "stderr": choice.randrange(most // 4)}
            scene.writes(numbered, seed, sizes, terminal=False)
            scene.container.options["-l"] = "journald:"
            with own_disk(scene) as (space, _, _):
                journal = scene.journal = Receiver(space.journal)
                scene.actions += [partial(still, scene), journal.rest]
                scene.actions.append(partial(restart, scene, journal))
                scene.launch(*slow_clients(scene), wrapper=space.wrapper)
                scene.play()
                journal.take()
                journal.close()
            check(journal.pieces(), expect(numbered, seed, sizes), scene)

    proof.run(play)


def check(entries: list[Piece], expected: dict[str, bytes], scene: Scene) -> None:
    found, told = split_markers(entries)
    dropped = scene.counters["entry_bytes_dropped"]
    if dropped == 0:
        complete(found, expected, "the journal")
    assert missing(found, expected, "the journal") == dropped
    assert told <= dropped
    assert scene.counters["entries"] == len(found)
    scene.check_clients(expected)
