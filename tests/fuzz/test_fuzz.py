"""Each fuzz target for ten seconds, from the corpus on (docs/reliability.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from fuzz import targets

SECONDS = 10

pytestmark = pytest.mark.skipif(
    targets.compiler() is None, reason="there is no clang with libFuzzer: make deps WHAT=fuzz"
)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[targets.Outcome]]]:
    """The runs of the targets that are wanted here, as many at once as there are processors."""
    wanted = {
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_target
    }
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(targets.fuzz, name, SECONDS) for name in sorted(wanted)}


@pytest.mark.parametrize("name", targets.NAMES)
def test_target(name: str, outcomes: dict[str, Future[targets.Outcome]]) -> None:
    """Nothing that comes from outside crashes the core, or has it break a promise."""
    outcome = outcomes[name].result()
    assert outcome.status == 0, outcome.finding()
    assert outcome.executions > 0


@pytest.mark.parametrize("name", targets.NAMES)
def test_there_is_a_corpus(name: str) -> None:
    """A target starts from inputs that reach what was reached before."""
    assert list((targets.HERE / "corpus" / name).iterdir())
