"""Run the tests in systems, and write docs/systems.md: everywhere.py COMMAND...

    everywhere.py check NAME JOBS [PYTEST-ARGUMENT...]
    everywhere.py page

`check` runs tools/check-system.sh, shows what it says, and keeps the result in docs/systems.json.
Exit status: that of the tests. `page` prints docs/systems.md, made from the results.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
RESULTS = TOP / "docs" / "systems.json"
# As tools/versions.sh prints them.
FACTS = ("system", "processor", "kernel", "cgroup", "init", "systemd", "Python", "podman", "crun",
         "runc", "C conmon")  # fmt: skip
NAMES = {
    "here": "the machine of the test",
    "debian13": "a folder on that machine",
    "testing": "a folder on that machine",
    "vm": "a whole machine, emulated",
    "arm64": "the same, of another processor",
    "arm64-16k": "the same, with pages of 16 KiB",
}
HEAD = """\
# Systems

What the tests were run on, and when. `make check-everywhere` runs them all and writes this page;
`make check-system SYSTEM=debian13` runs one of them. A system is a folder under `build/systems`
with a Debian of its own (`tools/lay-system.sh`). `debian13` and `testing` run on the kernel that
is there (`tools/in-system.sh`). `vm` is `testing` again, started as a machine with a kernel of
its own and systemd as the first process (`tools/machine.sh`), for the tests that need one.
`arm64` and `arm64-16k` are machines too: one folder with two kernels, whose pages have 4 and 16
KiB. conmon is built for them with a cross compiler (`tools/build-arm64.sh`). They run the demo and
the tests of core and contract.
"""


def check(name: str, *words: str) -> int:
    """Run the tests in a system; their exit status."""
    lines: list[str] = []
    command = [str(TOP / "tools" / "check-system.sh"), name, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    result = outcome(lines)
    if result is not None:
        keep(name, result)
    return process.returncode or (result is None)


def outcome(lines: Iterable[str]) -> dict[str, Any] | None:
    """What a run has printed: facts, counts, and why tests were skipped. None without an end."""
    found: dict[str, Any] = {"facts": {}, "skips": [], "counts": {}}
    for line in lines:
        for fact in FACTS:
            if line.startswith(fact + " ") and fact not in found["facts"]:
                found["facts"][fact] = line.removeprefix(fact + " ")
        if match := re.match(r"SKIPPED \[(\d+)\] [^ ]+ (.*)", line):
            found["skips"].append([int(match[1]), match[2]])
        if match := re.fullmatch(r"=+ (.*) in [0-9.]+s.*=+", line):
            for number, what in re.findall(r"(\d+) (\w+)", match[1]):
                found["counts"][what] = found["counts"].get(what, 0) + int(number)
    return found if found["counts"] else None


def keep(name: str, result: dict[str, Any]) -> None:
    """Write a result over the last one of that system."""
    git = ["git", "-C", str(TOP), "describe", "--always", "--dirty"]
    result["commit"] = subprocess.run(
        git, capture_output=True, text=True, check=True
    ).stdout.strip()
    result["day"] = time.strftime("%Y-%m-%d")
    results = read()
    results[name] = result
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def read() -> dict[str, Any]:
    """The last result of each system."""
    return dict(json.loads(RESULTS.read_text())) if RESULTS.exists() else {}


def page() -> str:
    """docs/systems.md."""
    results = {name: result for name in NAMES if (result := read().get(name))}
    lines = [HEAD, f"| | {' | '.join(results)} |", f"|---|{'---|' * len(results)}"]
    rows: dict[str, list[str]] = {"what": [NAMES[name] for name in results]}
    for fact in FACTS:
        rows[fact] = [str(result["facts"].get(fact, "-")) for result in results.values()]
    for count in ("passed", "failed", "errors", "skipped"):
        rows[count] = [str(result["counts"].get(count, 0)) for result in results.values()]
    rows["commit"] = [result["commit"] for result in results.values()]
    rows["day"] = [result["day"] for result in results.values()]
    lines += [f"| {row} | {' | '.join(cells)} |" for row, cells in rows.items()]
    lines += ["", "## Skipped", "", "| system | tests | why |", "|---|--:|---|"]
    for name, result in results.items():
        lines += [f"| {name} | {count} | {why} |" for count, why in result["skips"]]
    return "\n".join(lines)


def main(words: list[str]) -> int:
    match words:
        case ["check", name, *more]:
            return check(name, *more)
        case ["page"]:
            print(page())
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
