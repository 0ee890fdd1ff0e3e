"""Print docs/contract.md: each section of the conmon contract with the tests that hold it.

The sections are those that the tests name in the first words of their docstrings, as in
`C8.2: no byte is lost`. `make contract` writes the page, a test sees to it that it is current.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent

SECTIONS = {
    "C1": "option parser",
    "C2": "option table",
    "C3": "validation order and texts",
    "C4": "startup sequence",
    "C5": "runtime argv",
    "C6": "sync and attach pipe JSON",
    "C7": "files",
    "C8": "k8s-file format",
    "C9": "log driver syntax",
    "C10": "size limits",
    "C11": "rotation and reopening",
    "C12": "attach socket",
    "C13": "terminal, ctl and winsz",
    "C14": "sd-notify relay",
    "C15": "OOM",
    "C16": "signals and children",
    "C17": "exit sequence",
    "C18": "journald",
    "C19": "passthrough",
    "C20": "defects of C conmon and their cures",
    "C21": "learned since, with real clients",
}

# The rows of C20: what C conmon does, and ours must not.
FAULTS = {
    1: "a client that does not read stalls everything",
    2: "a client that has gone leaves an fd and a buffer",
    3: "a client whose input nobody reads is not noticed when it goes",
    4: "a long line on ctl makes it spin; ctl and winsz share a buffer",
    5: "resizes without a terminal block it for good",
    6: "a runtime that says much, or hangs, is waited for without end",
    7: "an empty pid file counts as a start",
    8: "a report may be longer than podman reads",
    9: "a full disk tears records and drops output in silence",
    10: "a rotation that fails half-way loses logs, or ends conmon",
    11: "kills for memory are missed, or reported falsely (v2)",
    12: "a container that is not its child is waited for without end",
    13: "one notification that fails ends the relay",
    14: "priorities stop podman logs; many labels lose the line",
    15: "a hung-up terminal is polled; many system calls for little output",
    16: "a writer that goes on holds up the end",
    17: "sockets and links are left behind; SIGHUP ends it in silence",
    18: "runtime and exit command inherit its signal settings",
    19: "the locale decides which arguments are possible; colons cut log paths",
    20: "a pid file that cannot be written leaves an orphan",
    21: "there is no limit on clients",
    22: "the exit command's end waits for the container's",
    23: "the exit files wait for the disk",
}

# The rows of C21: what holds, also where it does not with C conmon.
LEARNED = {
    1: "a client that goes on reading gets every byte, whatever it has sent",
    2: "a session's terminal has its size and settings before the command runs",
    3: "signals end the exit delay; children are reaped in every life",
    4: "signals reach the container while the log takes nothing",
    5: "one journal entry, one datagram",
    6: "at the end as much is read as FIONREAD says, whatever the pipe's size",
    7: "a session that could not be started is reported with the runtime's words",
    8: "what can fail is done before the container runs; what fails later loses nothing",
    9: "an fd that is passed to conmon does not hold it up, however long its close takes",
    10: "a launch that has failed leaves neither a container nor a name",
}

HEAD = """\
# The contract and the tests that hold it

What a drop-in conmon must do, by section; C20 are the defects of C conmon, C21 what real clients
have shown since, with a row each. A test names its sections in its docstring. Made by
`make contract`; do not edit.
"""


def named_sections(docstring: str) -> set[str]:
    """The sections in what stands before the docstring's first colon."""
    head = docstring.partition(":")[0]
    return set(re.findall(r"\bC\d+(?:\.\d+)?", head))


def tests() -> dict[str, dict[str, list[str]]]:
    """Section -> file -> test functions."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(TOP.glob("tests/**/test_*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for section in named_sections(ast.get_docstring(node) or ""):
                    found[section][str(path.relative_to(TOP))].append(node.name)
    return found


def order(section: str) -> tuple[int, ...]:
    return tuple(map(int, section[1:].split(".")))


def about(section: str) -> str:
    """A row of C20 or C21 in words."""
    title, _, row = section.partition(".")
    rows = {"C20": FAULTS, "C21": LEARNED}.get(title, {})
    return f" {rows[int(row)]}" if row and rows else ""


def main() -> None:
    print(HEAD)
    found = tests()
    for title, subject in SECTIONS.items():
        print(f"\n## {title} {subject}\n")
        sections = {s for s in found if s == title or s.startswith(title + ".")}
        for row in {"C20": FAULTS, "C21": LEARNED}.get(title, {}):
            sections.add(f"{title}.{row}")
        for section in sorted(sections, key=order):
            print(f"- **{section}**{about(section)}")
            for path, names in sorted(found[section].items()):
                print(f"  - `{path}`: {', '.join(sorted(set(names)))}")
        if not sections:
            print("No test yet.")


if __name__ == "__main__":
    main()
