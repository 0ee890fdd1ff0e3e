"""Numbered lines of exec sessions, whose input nobody reads."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest
from harness_exec import AttachPipe, as_podman_exec

from .check import expect
from .clients import Client
from .conftest import Proof
from .scene import Scene
from .workshop import Workshop, still

pytestmark = pytest.mark.ours("it loses output, and does not count it")

KINDS = ("reader", "slow", "sender", "half-closer")


def attach_and_send(scene: Scene, choice: random.Random) -> None:
    """A client as podman is one: attached before the session, and sending at once."""
    client = Client(scene.socket, 0, choice.choice(KINDS), first=True)
    scene.clients.append(client)
    client.send(choice.choice((0, 1, 50)), choice.randrange(1, 3000))
    if choice.randrange(2):
        client.end_input()


def test_exec(proof: Proof, numbered: Path, workshop: Workshop) -> None:
    """C6, C12: whatever a client sends, and whenever, it gets the session's output to the end."""

    def play(seed: int, choice: random.Random) -> None:
        terminal = choice.randrange(2) > 0
        with workshop.scene(choice, "terminal" if terminal else "runtime") as scene:
            sizes = {"stdout": choice.choice((5, 200, 20_000, 1_000_000))}
            if not terminal:
                sizes["stderr"] = sizes["stdout"] // 3
            scene.writes(numbered, seed, sizes, terminal)
            container = scene.container
            as_podman_exec(container)
            if terminal:
                container.options["-t"] = None
                container.allow("bundle/tty")
            pipe = AttachPipe(container)
            pipe.launch(container)
            pipe.message()
            attach_and_send(scene, choice)
            if choice.randrange(2):  # a command that does not wait for anybody
                container.open_fifo(container.bundle / "start")
                container.go()
                container.started()
            else:
                container.go()
                container.started()
                scene.open_counters()
                container.open_fifo(container.bundle / "start")
            scene.actions.append(partial(still, scene))
            scene.play()
            scene.check_clients(expect(numbered, seed, sizes))

    proof.run(play)
