"""Numbered lines through conmon: into k8s-file logs, and to its clients."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest

from .check import complete, expect, in_a_row, joined, missing, pieces, split_markers, without_echo
from .conftest import Proof
from .disturb import all_pieces
from .workshop import Workshop, own_disk, sizes_of, slow_clients, still

pytestmark = pytest.mark.ours("it loses output, and does not count it")


def test_log_that_keeps_all(proof: Proof, numbered: Path, workshop: Workshop) -> None:
    """C8, C11, C12, C20.1, C20.10: through rotation, moves, copies and a full disk each byte is
    in the log once, in its order, or counted as dropped; and at every client."""

    def play(seed: int, choice: random.Random) -> None:
        with workshop.scene(choice) as scene:
            sizes = sizes_of(choice)
            scene.writes(numbered, seed, sizes, terminal=False)
            options = slow_clients(scene)
            if choice.randrange(2):
                limit = choice.choice((60_000, 300_000, 3_000_000))
                options += ["--log-rotate", "--log-max-files", "9999"]
                options += ["--log-size-max", str(limit)]
                scene.say("rotated at", limit)
            with own_disk(scene) as (space, disk, files):
                # A copy of a disk that is full may have half a record, which conmon takes back.
                disturb = choice.choice((disk.toggle, files.copytruncate))
                scene.say("beside it:", disturb.__name__)
                scene.actions += [disturb, files.rename, partial(still, scene)]
                scene.launch(*options, wrapper=space.wrapper)
                scene.play()
                found, told = split_markers(all_pieces(files.all()))
            expected = expect(numbered, seed, sizes)
            dropped = scene.counters["bytes_dropped"]
            if dropped == 0:
                complete(found, expected, "the log")
            assert missing(found, expected, "the log") == dropped
            assert told == dropped or (told < dropped and disk.full)
            records = len(found) + scene.counters["records_dropped"]
            assert records == scene.counters["records"]
            scene.check_clients(expected)

    proof.run(play)


def test_log_that_forgets(proof: Proof, numbered: Path, workshop: Workshop) -> None:
    """C10, C11: a log of limited size has the last of the output, without a hole in it."""

    def play(seed: int, choice: random.Random) -> None:
        with workshop.scene(choice) as scene:
            sizes = sizes_of(choice)
            scene.writes(numbered, seed, sizes, terminal=False)
            limit = choice.choice((100_000, 1_000_000, 5_000_000))
            options = [*slow_clients(scene), "--log-size-max", str(limit)]
            old = choice.choice((0, 1, 3))
            if old:
                options += ["--log-rotate", "--log-max-files", str(old)]
            scene.say("limit", limit, "old logs", old)
            with own_disk(scene) as (space, _, files):
                scene.actions.append(partial(still, scene))
                scene.launch(*options, wrapper=space.wrapper)
                scene.play()
                logs = files.all()
            expected = expect(numbered, seed, sizes)
            at: dict[str, int] = {}
            in_a_row(joined(all_pieces(logs)), expected, "the log", at)
            assert all(at[name] == len(expected[name]) for name in expected if at[name])
            assert scene.counters["bytes_dropped"] == 0
            assert len(logs) <= 1 + old
            assert all(len(log) <= limit or len(pieces(log)) == 1 for log in logs)
            scene.check_clients(expected)

    proof.run(play)


def test_terminal(proof: Proof, numbered: Path, workshop: Workshop) -> None:
    """C13, C8.3, C12: what a container writes on its terminal is in the log and at every client."""

    def play(seed: int, choice: random.Random) -> None:
        with workshop.scene(choice, "terminal") as scene:
            sizes = {"stdout": choice.choice((100, 50_000, 2_000_000, 6_000_000))}
            scene.writes(numbered, seed, sizes, terminal=True)
            scene.container.options["-t"] = None
            scene.container.allow("bundle/tty")
            with own_disk(scene) as (space, _, files):
                scene.actions += [files.copytruncate, files.rename, partial(still, scene)]
                scene.launch(*slow_clients(scene), wrapper=space.wrapper)
                scene.play()
                found = all_pieces(files.all())
            expected = expect(numbered, seed, sizes)
            complete(without_echo(found), expected, "the log")
            scene.check_clients(expected)

    proof.run(play)
