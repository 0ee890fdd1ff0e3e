"""docs/internals.md leads to what is there."""

from __future__ import annotations

import re

from harness_build import TOP

PAGE = (TOP / "docs" / "internals.md").read_text()


def test_what_is_to_be_changed_is_there() -> None:
    """Each name of the table is defined in the file that is named with it."""
    walks = re.findall(r"`(\w+)` in `(conmon/[\w/.]+)`", PAGE)
    assert len(walks) > 5
    for name, path in walks:
        # a function, a method or a constant; in Cython a function's type comes before its name
        defined = rf"^ *(?:def |cdef inline [\w ]+[ *]){name}\(|^ *{name}\b.* ="
        assert re.search(defined, (TOP / path).read_text(), re.MULTILINE), f"{name} in {path}"


def test_every_file_of_the_core_is_told_of() -> None:
    """The table of the core has each of its files once."""
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", PAGE, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"\w+", row)]
    files = [path.stem for path in TOP.glob("conmon/core/*.pxd") if path.stem != "__init__"]
    assert sorted(named) == sorted(files)
