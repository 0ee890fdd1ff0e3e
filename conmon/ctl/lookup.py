"""From what a person types to a monitor: a name, an id, or the start of an id.

An exec session is named as `ps` shows it: CONTAINER/SESSION, each of them a name or the start
of an id; or by the session's id alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from conmon.ctl.errors import Ambiguous, NoSuchContainer


class Named(Protocol):
    """What can be named: a monitor, or a container that has none."""

    @property
    def id(self) -> str:
        """The container's id."""

    @property
    def name(self) -> str:
        """The container's name; empty without one."""

    @property
    def session(self) -> str | None:
        """The exec session's id; None of the container itself."""

    @property
    def label(self) -> str:
        """As `ps` shows it."""


T = TypeVar("T", bound=Named)


def matches(word: str, monitors: Sequence[T]) -> list[T]:
    """All that `word` can mean. A whole name or id counts before the start of an id."""
    containers = [m for m in monitors if m.session is None]
    sessions = [m for m in monitors if m.session is not None]
    container, slash, session = word.partition("/")
    if slash:
        inside = [m for m in sessions if container in (m.name, m.id)] or [
            m for m in sessions if container and m.id.startswith(container)
        ]
        return _by_start(session, inside, lambda m: m.session or "")
    if not word:
        return []
    exact = [m for m in containers if word in (m.name, m.id)]
    return exact or (
        _by_start(word, containers, lambda m: m.id)
        or _by_start(word, sessions, lambda m: m.session or "")
    )


def _by_start(word: str, monitors: Sequence[T], key: Callable[[T], str]) -> list[T]:
    exact = [m for m in monitors if key(m) == word]
    return exact or [m for m in monitors if word and key(m).startswith(word)]


def one(word: str, monitors: Sequence[T]) -> T:
    """The one monitor that `word` means. NoSuchContainer, or Ambiguous with the candidates."""
    found = matches(word, monitors)
    if not found:
        raise NoSuchContainer(
            f"no container on this host is called '{word}'",
            "`conmonctl ps` lists those that there are",
        )
    if len(found) > 1:
        candidates = "".join(f"\n  {m.session or m.id}  {m.label}" for m in found)
        raise Ambiguous(f"'{word}' means several containers:{candidates}")
    return found[0]


def some(words: Sequence[str], monitors: Sequence[T]) -> list[T]:
    """The monitors that the words mean, in the order of `monitors`; all if there are no words."""
    if not words:
        return list(monitors)
    wanted = [one(word, monitors) for word in words]
    return [m for m in monitors if m in wanted]
