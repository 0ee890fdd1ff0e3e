"""What main() declares by hand is what the other objects of the ELF define: no linker looks."""

from __future__ import annotations

import re

from harness_build import TOP

FUNCTION = r"^cdef %s (?P<result>[\w ]+\*?) ?\b(?P<name>\w+)(?P<rest>\([^)]*\) noexcept)"


def functions(file: str, kind: str) -> dict[str, str]:
    """Signatures by name, spaces and line ends made equal; without who holds the GIL."""
    text = (TOP / "conmon" / file).read_text()
    found = re.finditer(FUNCTION % kind, text, re.MULTILINE)
    return {one["name"]: " ".join((one["result"] + one["rest"]).split()) for one in found}


def test_prototypes_are_those_of_the_definitions() -> None:
    """Results and arguments, function by function."""
    defined = functions("_image.pyx", "public") | functions("_fastio.pyx", "public")
    declared = functions("_main.pyx", "extern")
    lines = (TOP / "conmon" / "_main.pyx").read_text().splitlines()
    prototypes = [line for line in lines if re.match("cdef extern (?!from)", line)]
    assert len(declared) == len(prototypes)
    assert declared == {name: defined.get(name) for name in declared}
