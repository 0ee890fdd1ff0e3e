"""C15 on cgroup v2, by real kills for memory in a guest that has it (guest.py)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from .combinations import cannot
from .guest import KERNEL, run_guest

NO_FILE = "it leaves no oom file in the bundle, or none while the container runs"


@pytest.fixture(scope="module")
def results(
    conmon_path: Path, prerequisites: None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the guest found, scenario by scenario. It is booted once for all tests."""
    if shutil.which(KERNEL) is None:
        cannot(f"not installed: {KERNEL} (Debian's user-mode-linux)")
    result = run_guest(conmon_path, tmp_path_factory.mktemp("guest"))
    assert "error" not in result, result["error"]
    return result


def facts(results: dict[str, Any], scenario: str) -> dict[str, Any]:
    found: dict[str, Any] = results[scenario]
    assert "error" not in found, found["error"]
    return found


@pytest.mark.ours(NO_FILE)
def test_container_killed(results: dict[str, Any]) -> None:
    """C15: the container process itself is killed for memory: podman knows, and the code is 137."""
    found = facts(results, "whole")
    assert (found["oom_killed"], found["persist"], found["exit_code"]) == (True, True, 137)


@pytest.mark.ours(NO_FILE)
def test_shell_survives(results: dict[str, Any]) -> None:
    """C15: another process is killed, and the container ends with a code of its own."""
    found = facts(results, "shell_survives")
    assert (found["oom_killed"], found["persist"], found["exit_code"]) == (True, True, 3)


@pytest.mark.ours(NO_FILE)
def test_reported_while_it_runs(results: dict[str, Any]) -> None:
    """C15: a kill is reported at once, in the bundle and in the persist directory."""
    found = facts(results, "child")
    assert found["reported_while_running"] == [True, True]
    assert (found["oom_killed"], found["persist"], found["exit_code"]) == (True, True, 0)


@pytest.mark.ours(NO_FILE)
def test_exec_session(results: dict[str, Any]) -> None:
    """C15: a kill in an exec session is the container's and the session's, nobody else's.

    C20.11: a session that begins after it has the same cgroup and counters, and reports nothing.
    """
    found = facts(results, "session")
    assert found["session"] == 137
    assert found["session_persist"] == [True]
    assert found["reported_while_running"] == [True, True]
    assert (found["oom_killed"], found["exit_code"]) == (True, 0)
    assert found["next_session"] == 0
    assert found["next_session_persist"] == [False]


@pytest.mark.ours(NO_FILE)
def test_kill_after_other_events(results: dict[str, Any]) -> None:
    """C15, C20.11: memory was short first, without a kill: the watch goes on."""
    found = facts(results, "after_reclaim")
    assert (found["oom_killed"], found["persist"], found["exit_code"]) == (True, True, 137)


def test_limit_reached_without_a_kill(results: dict[str, Any]) -> None:
    """C15, C20.11: the limit was reached many times, and nobody was killed."""
    found = facts(results, "reclaim")
    assert found["events"]["max"] > 0
    assert found["events"]["oom_kill"] == 0
    assert (found["oom_killed"], found["persist"], found["exit_code"]) == (False, False, 0)


def test_killed_by_somebody(results: dict[str, Any]) -> None:
    """C15: SIGKILL from elsewhere is no kill for memory."""
    found = facts(results, "killed")
    assert (found["oom_killed"], found["persist"], found["exit_code"]) == (False, False, 137)


def test_exit_code_137(results: dict[str, Any]) -> None:
    """C15: nor is a container that exits with the same code."""
    found = facts(results, "status_137")
    assert (found["oom_killed"], found["persist"], found["exit_code"]) == (False, False, 137)


def test_cgroup_removed(results: dict[str, Any]) -> None:
    """C15: a cgroup that goes before the container is no kill, no error, and no busy loop."""
    found = facts(results, "cgroup_removed")
    assert found["settles"]
    assert (found["oom_killed"], found["persist"], found["exit_code"]) == (False, False, 6)
