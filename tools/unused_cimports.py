"""Name what Cython files cimport and do not use: unused_cimports.py FILE...

cython-lint finds this in .pyx files only. Exit status 1 if there is any.
"""

from __future__ import annotations

import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

SKIPPED = {tokenize.COMMENT, tokenize.NL}


def statements(path: Path) -> Iterator[list[tokenize.TokenInfo]]:
    """The tokens of each logical line."""
    line: list[tokenize.TokenInfo] = []
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.NEWLINE:
                yield line
                line = []
            elif token.type not in SKIPPED:
                line.append(token)
    yield line


def unused(path: Path) -> list[tuple[int, str]]:
    """Line and name of each cimport that nothing in the file mentions."""
    cimported: dict[str, int] = {}
    mentioned: set[str] = set()
    for line in statements(path):
        names = [token for token in line if token.type == tokenize.NAME]
        words = [token.string for token in names]
        if "cimport" not in words:
            mentioned.update(words)
            continue
        for number, token in enumerate(names):
            renamed = words[number + 1 : number + 2] == ["as"]
            if number > words.index("cimport") and token.string != "as" and not renamed:
                cimported[token.string] = token.start[0]
    return [(row, name) for name, row in cimported.items() if name not in mentioned]


def main() -> int:
    found = [(path, *where) for path in sys.argv[1:] for where in unused(Path(path))]
    for path, row, name in found:
        print(f"{path}:{row}: '{name}' is cimported but unused")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
