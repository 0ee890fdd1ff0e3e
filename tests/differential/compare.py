"""Compares two performances of a scenario, and looks differences up among those allowed."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Notes = Mapping[str, Sequence[str]]
Version = tuple[int, ...]


class Kind(enum.Enum):
    """Why two conmons may differ; the value is a heading of docs/differences.md."""

    CURE = "Faults of C conmon that are cured"
    OLDER = "Where Debian's C conmon is older"
    CHOICE = "Choices"


@dataclass(frozen=True)
class Difference:
    """A difference that is allowed: lines, each with its aspect and whose it is.

    `lines` has them as `differing` gives them. They must all differ in each of `scenarios`, and
    with `elsewhere` may do so in any other. Where not all C conmons that are compared with differ,
    those do that are not older than `since`, and older than `before`; the others must not.
    """

    kind: Kind
    what: str
    why: str
    scenarios: tuple[str, ...]
    lines: tuple[str, ...]
    elsewhere: bool = False
    since: Version = ()
    before: Version | None = None

    def holds_for(self, version: Version) -> bool:
        """Whether C conmon of this version differs."""
        return self.since <= version and (self.before is None or version < self.before)


def differing(peer: Notes, ours: Notes) -> list[str]:
    """The lines that only one of the two has: `aspect | C | line` or `aspect | ours | line`."""
    found = []
    for aspect in sorted({*peer, *ours}):
        theirs, own = list(peer.get(aspect, ())), list(ours.get(aspect, ()))
        matcher = difflib.SequenceMatcher(None, theirs, own, autojunk=False)
        for tag, i, j, k, m in matcher.get_opcodes():
            if tag != "equal":
                found += [f"{aspect} | C | {line}" for line in theirs[i:j]]
                found += [f"{aspect} | ours | {line}" for line in own[k:m]]
    return found


def judge(
    scenario: str, found: Sequence[str], allowed: Sequence[Difference]
) -> tuple[list[str], list[str]]:
    """What differs without being listed, and what is listed without that it differs."""
    unlisted = list(found)
    missing = []
    for difference in allowed:
        here = scenario in difference.scenarios
        if here or difference.elsewhere:
            for line in difference.lines:
                while line in unlisted:
                    unlisted.remove(line)
        if here:
            missing += [line for line in difference.lines if line not in found]
    return unlisted, missing
