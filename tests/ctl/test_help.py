"""The command line of conmonctl itself: help, completion, and what it needs."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from conmon.ctl import app
from conmon.ctl.errors import Status

from .tool import TOP, Tool

VERSION = (TOP / "VERSION").read_text().strip()


@pytest.mark.parametrize("command", app.COMMANDS)
def test_help_has_examples(conmonctl: Tool, command: str) -> None:
    """Each command explains itself: every option has words, and there are examples of it."""
    said = conmonctl(command, "--help", COLUMNS="100").out
    assert re.search(rf"(?m)^  (.* )?(source <\()?conmonctl {command}\b", said)
    options = re.findall(r"(?m)^  (-.*)$", said.partition("Options:")[2])
    assert options
    assert all(re.search(r"\S  +\S", option) or option.endswith(("]", ">")) for option in options)
    assert all(len(line) <= 100 for line in said.splitlines())


def test_help_lists_all(conmonctl: Tool) -> None:
    """The overview has every command, and every exit status."""
    said = conmonctl("--help").out
    for command in app.COMMANDS:
        assert re.search(rf"(?m)^  {command} +[A-Z]", said), command
    for status in Status:
        assert re.search(rf"(?m)^ +{int(status)}  \w", said), status


def test_version(conmonctl: Tool) -> None:
    """--version is that of conmon."""
    assert conmonctl("--version").out == f"conmonctl, version {VERSION}\n"


def test_unknown_command(conmonctl: Tool) -> None:
    """What there is not is a fault of the command line: status 2."""
    assert "lunch" in conmonctl("lunch", code=2).err


def test_without_its_libraries() -> None:
    """Without the extra one line says what to install."""
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-m", "conmon.ctl", "ps"],
        env={"PYTHONPATH": str(TOP / "build" / "stage")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "conmonctl needs click: pip install 'conmon[ctl]'\n"


def test_monitor_does_not_need_it() -> None:
    """Nothing of conmonctl, or of its libraries, is in the monitor."""
    binary = (TOP / "build" / "conmon").read_bytes()
    assert b"conmon.launch" in binary
    assert b"conmon.ctl" not in binary
    assert b"conmon.watch" not in binary


def test_closed_streams(conmonctl: Tool) -> None:
    """A caller that has closed stdin, stdout or stderr gets a status, not a traceback."""
    for stream in ("<&-", ">&-", "2>&-"):
        script = f"{conmonctl.path} ps {stream}"
        done = subprocess.run(
            ["sh", "-c", script], env=conmonctl.environment(), capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0
        assert b"Traceback" not in done.stderr


def test_locale_that_lacks_characters(conmonctl: Tool) -> None:
    """What a locale cannot encode is escaped."""
    done = conmonctl("ps", "\N{SNOWMAN}", code=3, LC_ALL="C", PYTHONIOENCODING="ascii")
    assert "'\\u2603'" in done.err
