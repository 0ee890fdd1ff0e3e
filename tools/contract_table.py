"""Print docs/contract.md anew: its text as it stands, and with each promise the tests that hold it.

A promise is a paragraph that begins with its number, as in `**C8.2** TAG is...`. A test names the
promises that it holds in the first words of its docstring, as in `C8.2, C9: no byte is lost`.
`make contract` writes the page. Exit status 1, with words on stderr: somebody cites a number that
the page does not have, or a promise has no test.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "docs" / "contract.md"
TESTS_OF_A_PROMISE = re.compile(r"\n<details>.*?</details>\n", re.DOTALL)
PROMISE = re.compile(r"^\*\*([CDE]\d+(?:\.\d+)?)\*\* ", re.MULTILINE)
NUMBER = re.compile(r"\b[CD]\d{1,2}(?:\.\d+)?\b")
NUMBER_IN_A_DOCSTRING = re.compile(r"\b[CDE]\d{1,2}(?:\.\d+)?\b")
# Where numbers are looked for, and which of these files only look as if they had some.
SOURCES = ("*.py", "*.pyx", "*.pxd", "*.sh", "*.md", "*.c", "tests/standin/*")

Holders = dict[str, dict[str, list[str]]]


def promises(page: str) -> list[str]:
    """The numbers of a page's promises, in its order."""
    return PROMISE.findall(page)


def docstrings() -> Iterator[tuple[str, str, str]]:
    """File, name and docstring of every test."""
    for path in sorted(TOP.glob("tests/**/test_*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield str(path.relative_to(TOP)), node.name, ast.get_docstring(node) or ""


def holders() -> Holders:
    """Promise -> file -> tests that name it before the first colon of their docstring."""
    found: Holders = defaultdict(lambda: defaultdict(list))
    for path, name, docstring in docstrings():
        for number in set(NUMBER_IN_A_DOCSTRING.findall(docstring.partition(":")[0])):
            found[number][path].append(name)
    return found


def citations() -> dict[str, str]:
    """Every number that a file cites -> one of the places."""
    files = subprocess.run(
        ["git", "ls-files", "--", *SOURCES], cwd=TOP, capture_output=True, text=True, check=True
    ).stdout.split()
    found = {}
    for name in files:
        text = (TOP / name).read_text() if (TOP / name).is_file() else ""
        for number in NUMBER.findall(text):
            found[number] = name
    return found


def faults(page: str, held: Holders, cited: dict[str, str]) -> list[str]:
    """What is wrong with a page, a line each."""
    numbers = promises(page)
    return [
        *(f"{number} is there twice" for number in set(numbers) if numbers.count(number) > 1),
        *(f"{cited[number]} cites {number}, which is not in docs/contract.md"
          for number in cited if number not in numbers),
        *(f"{next(iter(held[number]))} names {number}, which is not in docs/contract.md"
          for number in held if number not in numbers),
        *(f"{number} has no test" for number in numbers if number not in held),
    ]  # fmt: skip


def with_tests(page: str, held: Holders) -> str:
    """The page, with the tests of each promise behind its paragraphs."""
    text = TESTS_OF_A_PROMISE.sub("", page)
    starts = [match.start() for match in PROMISE.finditer(text)]
    parts = [text[: starts[0]]] if starts else [text]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        paragraphs, heading, rest = text[start:end].partition("\n\n\n")
        number = PROMISE.match(paragraphs)
        assert number is not None
        parts += [paragraphs.rstrip("\n"), "\n\n", list_of_tests(held.get(number[1], {}))]
        parts += ["\n\n" + rest] if heading else ["\n" if end < len(text) else ""]
    return "".join(parts)


def list_of_tests(files: dict[str, list[str]]) -> str:
    """Folded where a browser shows it, plain in an editor."""
    count = sum(len(set(names)) for names in files.values())
    lines = [f"<details><summary>{count} test{'s' * (count != 1)}</summary>", ""]
    for path, names in sorted(files.items()):
        lines.append(f"- `{path}`: {', '.join(sorted(set(names)))}")
    return "\n".join([*lines, "", "</details>", ""])


def main() -> int:
    page, held = PAGE.read_text(), holders()
    wrong = faults(page, held, citations())
    for line in wrong:
        print(line, file=sys.stderr)
    print(with_tests(page, held), end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
