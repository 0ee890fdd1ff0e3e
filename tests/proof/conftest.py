"""Rounds of the proof: as many as their time allows, each with a seed of its own."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import Guard

from .check import expected_so_far
from .workshop import Workshop

SOURCE = Path(__file__).with_name("numbered.c")

Round = Callable[[int, random.Random], object]

#: What each test has proved, in words.
proved: dict[str, str] = {}


@dataclass(frozen=True)
class Proof:
    """Runs rounds for `seconds`; the first one with `seed`, each later one with the next."""

    name: str
    seed: int
    seconds: float

    def run(self, play: Round) -> None:
        """At least one round. A failure names its seed, which `--proof-seed` takes."""
        end = time.monotonic() + self.seconds
        seed = self.seed
        lines, size = expected_so_far.lines, expected_so_far.bytes
        while seed == self.seed or time.monotonic() < end:
            print(f"--proof-seed={seed}")
            try:
                play(seed, random.Random(seed))
            except BaseException as error:
                error.add_note(f"in round {seed - self.seed + 1}: --proof-seed={seed}")
                raise
            seed += 1
            proved[self.name] = (
                f"rounds {seed - self.seed:,}, lines {expected_so_far.lines - lines:,}, "
                f"bytes {expected_so_far.bytes - size:,}"
            )


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Proof:
    """The rounds of one test: its share of the time that --proof-seconds gives to all."""
    tests = [item for item in request.session.items if "proof" in getattr(item, "fixturenames", ())]
    seconds: float = request.config.getoption("--proof-seconds")
    seed: int | None = request.config.getoption("--proof-seed")
    if seed is None:
        seed = random.SystemRandom().randrange(10**9)
    return Proof(request.node.name, seed, seconds / len(tests))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was written and held against what came out, where one process ran all."""
    for name, words in proved.items():
        terminalreporter.write_line(f"{name}: {words}")


@pytest.fixture(scope="session")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generator. Static, because a container has no libraries for it."""
    compiler = shutil.which("cc")
    assert compiler, "no C compiler (make deps)"
    program = tmp_path_factory.mktemp("numbered") / "numbered"
    subprocess.run([compiler, "-O2", "-static", "-o", program, SOURCE], check=True, timeout=60)
    return program


@pytest.fixture
def workshop(conmon_path: Path, tmp_path: Path, guard: Guard) -> Workshop:
    return Workshop(conmon_path, tmp_path, guard)
