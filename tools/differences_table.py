"""Print docs/differences.md: how conmon differs from the C conmon, and why.

Made from the list that the differential test holds both to (tests/differential/differences.py).
`make contract` writes the page, a test sees to it that it is current.
"""

from __future__ import annotations

import sys
import textwrap
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from differential.compare import Difference, Kind, Version  # noqa: E402
from differential.differences import ALLOWED  # noqa: E402

HEAD = """\
# Differences from the C conmon

`tests/differential` plays its scenarios with Debian's C conmons (2.1.6, 2.1.12, 2.1.13) and with
this one, and compares what podman, CRI-O or an administrator can see: files with their modes and
contents, logs, reports on the pipes, the order of events, exit status, messages, what attach
clients get, and what the runtime and the exit command are given. These are all the differences.
Made by `make contract` from the list that the test uses; do not edit.

A line belongs to the C conmon (`C`) or to this one (`ours`), behind what it was seen in. Names in
capitals stand for what changes from run to run. C20, with a row, is the list of C conmon's faults
in [contract.md](contract.md), where each has a test; those by which it hangs, spins or loses data
are not among these scenarios, because there is no end to compare.
"""


def versions(difference: Difference) -> str:
    """A sentence on the C conmons that differ, where not all of them do."""
    text = ""
    if difference.since:
        text += f" From {dotted(difference.since)} on."
    if difference.before:
        text += f" Before {dotted(difference.before)}."
    return text


def dotted(version: Version) -> str:
    return ".".join(map(str, version))


def main() -> None:
    print(HEAD)
    for kind in Kind:
        print(f"\n## {kind.value}")
        merged: dict[tuple[str, ...], list[Difference]] = defaultdict(list)
        for difference in ALLOWED:
            if difference.kind is kind:
                key = (difference.what, difference.why, versions(difference))
                merged[key].append(difference)
        for (what, why, which), parts in merged.items():
            print(f"\n### {what}\n\n{textwrap.fill(why, 100)}\n\n```")
            for line in dict.fromkeys(line for part in parts for line in part.lines):
                print(line)
            print("```\n")
            names = dict.fromkeys(f"`{name}`" for part in parts for name in part.scenarios)
            more = " and others" if any(part.elsewhere for part in parts) else ""
            text = f"Scenarios: {', '.join(names)}{more}.{which}"
            print(textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False))


if __name__ == "__main__":
    main()
