"""The demonstration tells the truth: it succeeds with a conmon that works, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import Guard
from harness_build import CONMON, TOP, environment


def _demo(conmon: Path, directory: Path, runtime: str = "bare") -> tuple[int, str]:
    """Run the demonstration with its files in `directory`: its exit status and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "demo", conmon, runtime],
        cwd=TOP,
        env=environment(TMPDIR=str(directory)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def _script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def test_success(tmp_path: Path, guard: Guard) -> None:
    """It shows pid, log and exit code, and leaves neither a file nor a process."""
    status, said = _demo(CONMON, tmp_path)
    assert status == 0, said
    for text in ("ISOLATES NOTHING", "the monitor is pid", "first process is pid"):
        assert text in said
    for text in ("stdout F line 3", "stderr F a word", "stdout P half", "says 37"):
        assert text in said
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("lie", ["true", "false"])
def test_no_conmon_at_all(lie: str, tmp_path: Path, guard: Guard) -> None:
    """A program that does nothing is not taken for conmon."""
    status, said = _demo(Path("/bin", lie), tmp_path)
    assert status == 1
    assert "FAILED" in said
    assert os.listdir(tmp_path) == []


def test_lost_line(tmp_path: Path, guard: Guard) -> None:
    """A conmon that does not log every line fails."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    limit = f'exec "{CONMON}" "$@" --log-global-size-max 200'
    status, said = _demo(_script(tmp_path / "conmon", limit), directory)
    assert status == 1
    assert "FAILED: record" in said or "FAILED: the log has" in said
    assert os.listdir(directory) == []


def test_wrong_exit_code(tmp_path: Path, guard: Guard) -> None:
    """A conmon that does not give the container's exit code fails."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    timeout = f'exec "{CONMON}" "$@" --timeout 3'
    status, said = _demo(_script(tmp_path / "conmon", timeout), directory)
    assert status == 1
    assert "says -1" in said
    assert os.listdir(directory) == []


def test_broken_runtime(tmp_path: Path, guard: Guard) -> None:
    """A runtime that was asked for and does not work is not replaced by another."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    runtime = _script(tmp_path / "runtime", "echo 'cannot do that' >&2", "exit 1")
    status, said = _demo(CONMON, directory, str(runtime))
    assert status == 1
    assert "busybox" in said or "cannot do that" in said
    assert os.listdir(directory) == []
