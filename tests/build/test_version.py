"""--version: what it says, and that it starts no interpreter to say it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from harness_build import CONMON, TOP, VERSION, run


def _system_calls(option: str, trace: Path) -> list[str]:
    run("strace", "-f", "-o", trace, CONMON, option)
    return re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE)


def test_version_is_that_of_the_file() -> None:
    """C1.7: two lines, exactly; the number is that of the file VERSION."""
    said = run(CONMON, "--version").stdout
    assert re.fullmatch(rf"conmon version {re.escape(VERSION)}\ncommit: (\w+)\n", said), said


def test_commit_is_that_of_the_checkout() -> None:
    """C1.7: the commit that was built, or `unknown` where there is no git."""
    said = run(CONMON, "--version").stdout.splitlines()[1].removeprefix("commit: ")
    git = subprocess.run(
        ["git", "-C", TOP, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    assert said == (git.stdout.strip() or "unknown")


def test_version_starts_no_interpreter(tmp_path: Path) -> None:
    """C1.7: between the start of libc and the end there is one write, and little else.

    The start of a static libc takes a dozen system calls; of a dynamic one with libpython, which
    maps each library, some 50. The help text, which the launch life prints, is the control: an
    interpreter allocates memory before it does anything.
    """
    version = _system_calls("--version", tmp_path / "version")
    help_ = _system_calls("--help", tmp_path / "help")
    assert version[-2:] == ["write", "exit_group"]
    assert version[: len(version) - 2] == help_[: len(version) - 2]  # no more than libc's start
    assert len(help_) > len(version) + 5
    if "openat" not in version:  # linked statically
        assert len(version) < 30
