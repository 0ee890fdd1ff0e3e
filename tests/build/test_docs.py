"""Pages that are made from the sources are current, and lead to what is there."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from harness_build import TOP

sys.path.append(str(TOP))  # behind the conmon that was built

from tools import contract_table


@pytest.mark.parametrize("page", ["contract", "differences"])
def test_page_is_current(page: str) -> None:
    """`make contract` would change nothing, and nothing is wrong with what it is made from."""
    made = subprocess.run(
        [sys.executable, TOP / "tools" / f"{page}_table.py"], capture_output=True, check=False
    )
    assert (made.returncode, made.stderr) == (0, b"")
    assert (TOP / "docs" / f"{page}.md").read_bytes() == made.stdout


CONTRACT = """\
# Head

**C1** One promise.

- with a list


## Two

**C8.2** Another.

And its second paragraph.
"""


def test_contract_and_tests_that_do_not_fit() -> None:
    """A number that is not there, a promise without a test, and a promise that is there twice."""
    held = {"C1": {"tests/test_a.py": ["test_b"]}, "E9": {"tests/test_c.py": ["test_d"]}}
    assert contract_table.faults(CONTRACT + "\n**C1** Again.\n", held, {"C7": "conmon/x.py"}) == [
        "C1 is there twice",
        "conmon/x.py cites C7, which is not in docs/contract.md",
        "tests/test_c.py names E9, which is not in docs/contract.md",
        "C8.2 has no test",
    ]


def test_lists_of_tests_are_replaced() -> None:
    """The text stays what it is, however often the lists are written."""
    once = contract_table.with_tests(CONTRACT, {"C1": {"tests/test_a.py": ["test_b"]}})
    assert "\n- with a list\n\n<details><summary>1 test</summary>\n\n- `tests/test_a.py`" in once
    held = {"C8.2": {"tests/test_e.py": ["test_f", "test_g"]}}
    again = contract_table.with_tests(once, held)
    assert again == contract_table.with_tests(CONTRACT, held)
    assert contract_table.TESTS_OF_A_PROMISE.sub("", again) == CONTRACT


def test_links_lead_somewhere() -> None:
    """A link from one page to a file here, in any of them, has its file."""
    for page in (*TOP.glob("*.md"), *TOP.glob("docs/*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_tests_that_are_named_are_there() -> None:
    """The page on security names tests, and files of them, that there are."""
    text = (TOP / "docs" / "security.md").read_text()
    defined = {
        name
        for path in TOP.glob("tests/**/test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", text))
    assert len(named) > 30
    assert named <= defined
    for path in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (TOP / path).exists(), path
