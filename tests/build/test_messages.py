"""docs/messages.md has every message that a person can meet, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from harness_build import TOP

#: Calls whose messages are for developers.
QUIET = {"debug", "trace"}
#: Files that say nothing to anybody but in --help.
SILENT = {"rehearsal.py", "usage.py"}


def in_python() -> Iterator[str]:
    """What the Python lives say: texts with words in them that do not go to debug or trace."""
    for path in {*TOP.glob("conmon/*.py")} - {TOP / "conmon" / name for name in SILENT}:
        tree = ast.parse(path.read_text())
        quiet = [
            node
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in QUIET
            for node in ast.walk(call)
        ]
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=bytes(text)) if node not in quiet:
                    yield text.decode()


def in_the_core() -> Iterator[str]:
    """What the core says: texts in its files, without docstrings and comments."""
    for path in (*TOP.glob("conmon/core/*.pxd"), TOP / "conmon" / "_fastio.pyx"):
        code = re.sub(r'"""(.*?)"""', "", path.read_text(), flags=re.DOTALL)
        code = re.sub(r"say\w*\([^\"]*LEVEL_DEBUG[^\"]*\"[^\"]*\"", "", re.sub(r"#.*", "", code))
        yield from re.findall(r'"((?:[^"\\\n]|\\.)*)"', code)


def is_message(text: str) -> bool:
    """Several words; conmon's own texts for people begin like a sentence or name an option."""
    sentence = re.match(r"[A-Z][a-z]+ [\w'%]|[A-Z][a-z]+ '?%|OOM|%\w+ bytes of", text)
    return bool(sentence) and "=" not in text[:12]


def bare(text: str) -> str:
    """A message without what differs, as code or page have it."""
    text = re.sub(r"%(llu|zu|[a-z])", "…", text.replace("\\n", ""))
    return re.sub(r"\W+", " ", text.replace("…", " ")).strip()


def test_page_and_code_are_equal() -> None:
    """Each message is explained once."""
    page = (TOP / "docs" / "messages.md").read_text()
    told = [bare(text) for text in re.findall(r"^\| `(.*?)` \|", page, re.MULTILINE)]
    said = {bare(text) for text in (*in_python(), *in_the_core()) if is_message(text)}
    assert sorted(said - set(told)) == []
    assert sorted(text for text in set(told) - said if text[:1].isupper()) == []
    assert [text for text in told if told.count(text) > 1] == []
