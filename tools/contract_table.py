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
}

HEAD = """\
# The contract and the tests that hold it

What a drop-in conmon must do, by section; C20 are the defects of C conmon, with a row each. A test
names its sections in its docstring. Made by `make contract`; do not edit.
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


def main() -> None:
    print(HEAD)
    found = tests()
    for title, subject in SECTIONS.items():
        print(f"\n## {title} {subject}\n")
        sections = [s for s in found if s == title or s.startswith(title + ".")]
        for section in sorted(sections, key=order):
            print(f"- **{section}**")
            for path, names in sorted(found[section].items()):
                print(f"  - `{path}`: {', '.join(sorted(set(names)))}")
        if not sections:
            print("No test yet.")


if __name__ == "__main__":
    main()
