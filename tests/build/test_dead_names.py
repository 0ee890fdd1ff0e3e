"""What nobody uses is not there."""

from __future__ import annotations

import re
from collections import Counter

from harness_build import TOP

#: Hooks of click.
CALLED_BY_OTHERS = {"shell_complete", "get_command", "list_commands"}
KERNEL = TOP / "conmon" / "core" / "kernel.pxd"


def mentioned(*patterns: str) -> set[str]:
    """Every word of the files, without that of kernel.pxd."""
    files = {path for pattern in patterns for path in TOP.glob(pattern)} - {KERNEL}
    return {word for path in files for word in re.findall(r"\w+", path.read_text())}


def test_names_of_the_core_module() -> None:
    """Each name that `_fastio` has for Python is used by a life, or by a test."""
    stub = (TOP / "conmon" / "_fastio.pyi").read_text()
    names = set(re.findall(r"^(?:def )?([a-zA-Z]\w*)[:(]", stub, re.MULTILINE))
    assert len(names) > 40
    assert names - mentioned("conmon/*.py", "tests/**/*.py") == set()


def test_names_of_the_kernel() -> None:
    """Each constant and function that kernel.pxd declares is used by some file of the core."""
    text = KERNEL.read_text()
    declared = set(re.findall(r"^ +[\w* ]+\b(\w+)\(", text, re.MULTILINE))
    for line in re.findall(r"^ +enum: (.*)", text, re.MULTILINE):
        declared |= set(re.findall(r"\w+", line))
    assert len(declared) > 150
    used = mentioned("conmon/**/*.pxd", "conmon/*.pyx", "tests/fuzz/*.pyx", "tests/fuzz/*.pxd")
    assert declared - used == set()


def test_constants_of_the_core() -> None:
    """Each constant that a file of the core defines is used."""
    files = [*TOP.glob("conmon/core/*.pxd"), *TOP.glob("conmon/*.pyx")]
    texts = [path.read_text() for path in files if path != KERNEL]
    words = Counter(word for text in texts for word in re.findall(r"\w+", text))
    defined = {
        name
        for text in texts
        for block in re.findall(r"^cdef enum\b.*:\n((?:    .*\n|\n)+)", text, re.MULTILINE)
        for name in re.findall(r"^    ([A-Z]\w+) =", block, re.MULTILINE)
    }
    assert len(defined) > 60
    # a constant that does not compile where something is too large
    assert {name for name in defined if words[name] == 1} == {"AREA_FITS"}


def test_attributes() -> None:
    """Each attribute of the Python lives' objects is read somewhere in them."""
    text = "".join(path.read_text() for path in TOP.glob("conmon/*.py"))
    slots = {
        name
        for names in re.findall(r"__slots__ = \(([^)]*)\)", text)
        for name in re.findall(r'"(\w+)"', names)
    }
    assert len(slots) > 60
    read = set(re.findall(r"\.(\w+)\b(?!\s*(?::[^=\n]*)?=[^=])", text))
    assert slots - read == set()


def test_functions() -> None:
    """Each function and class of the package is named somewhere else, too."""
    files = [*TOP.glob("conmon/**/*.py"), *TOP.glob("conmon/**/*.p[xy][xdi]")]
    words = Counter(
        word
        for path in {*files, *TOP.glob("tests/**/*.py"), *TOP.glob("tests/fuzz/*.p*")}
        for word in re.findall(r"\w+", path.read_text())
    )
    defined = {
        name
        for path in TOP.glob("conmon/**/*.py")
        for name in re.findall(r"^ *(?:def|class) (\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(defined) > 500
    dead = {name for name in defined - CALLED_BY_OTHERS if words[name] == 1}
    assert {name for name in dead if not name.startswith("__")} == set()
