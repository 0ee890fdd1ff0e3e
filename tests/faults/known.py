"""Tries that are known to end badly, as data: known.toml, which is only ever to shrink.

python -m faults.known build/faults.json >tests/faults/known.toml writes it anew, without reasons.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.verdict import GOOD

_FILE = Path(__file__).with_name("known.toml")
_REACHED_NOT = "not reached"


@dataclass(frozen=True)
class Known:
    """Keys (campaign.Task.key) that have one cause. `sometimes`: a race decides."""

    reason: str
    tries: frozenset[str]
    sometimes: bool


def read() -> list[Known]:
    held = tomllib.loads(_FILE.read_text()).get("known", [])
    return [
        Known(each["reason"], frozenset(each["tries"]), each.get("sometimes", False))
        for each in held
    ]


def is_bad(result: dict[str, Any]) -> bool:
    return result["row"] not in (*GOOD, _REACHED_NOT)


def is_sure(result: dict[str, Any]) -> bool:
    """Bad whenever it was tried."""
    return is_bad(result) and all(row not in GOOD for row in result["again"])


def compare(results: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """What is bad and not known; and what is known and no longer bad, of what was tried."""
    known = read()
    names = frozenset[str]().union(*(each.tries for each in known))
    bad = [each for each in results if is_bad(each)]
    tried = {each["key"] for each in results if each["row"] != _REACHED_NOT}
    still = {each["key"] for each in bad}
    surely = frozenset[str]().union(*(each.tries for each in known if not each.sometimes))
    return [each for each in bad if each["key"] not in names], sorted((surely & tried) - still)


def text(results: list[dict[str, Any]]) -> str:
    """A known.toml of these results."""
    groups: dict[tuple[str, bool], set[str]] = defaultdict(set)
    for each in results:
        if is_bad(each):
            groups[each["row"], not is_sure(each)].add(each["key"])
    lines = ["# Tries that end badly for now: see known.py.\n"]
    for (row, sometimes), keys in sorted(groups.items()):
        lines.append(f'[[known]]\nreason = "{row}"')
        lines += ["sometimes = true"] if sometimes else []
        lines += ["tries = [", *(f"    {json.dumps(key)}," for key in sorted(keys)), "]\n"]
    return "\n".join(lines)


if __name__ == "__main__":
    print(text(json.loads(Path(sys.argv[1]).read_text())["runs"][0]["results"]))
