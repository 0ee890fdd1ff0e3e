"""Command lines of runtimes and monitors, in all their spellings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conmon.oci.argv import MonitorCall, RuntimeCall, Verb, monitor_call, runtime_call

FULL = RuntimeCall(Verb.CREATE, "c1", "/b", "/p", "/r")


@pytest.mark.parametrize(
    "line",
    [
        "runc --root /r create --bundle /b --pid-file /p c1",
        "runc --root=/r create --bundle=/b --pid-file=/p c1",
        "runc -root /r --log-format json create -b /b -pid-file=/p c1",
        "crun --systemd-cgroup --root /r --debug create -b/b --no-pivot --pid-file /p c1",
        "crun --cgroup-manager=cgroupfs --root=/r create --pid-file=/p c1 --bundle /b",
        "runc --log /l --root /r create --console-socket /s --bundle /b --pid-file /p -- c1",
        "/usr/bin/youki --root /r create --preserve-fds 3 -b /b --pid-file /p c1",
    ],
)
def test_spellings_of_create(line: str) -> None:
    """Options before and behind the subcommand, long and short, with "=" and without."""
    assert runtime_call(line.split()) == FULL


@pytest.mark.parametrize("verb", list(Verb))
def test_verbs(verb: Verb) -> None:
    """Every subcommand that makes or starts a container is known; the bundle defaults to "."."""
    assert runtime_call(["runc", verb, "c1"]) == RuntimeCall(verb, "c1")


@pytest.mark.parametrize(
    "line",
    [
        "runc",
        "runc init",
        "runc exec --pid-file /p c1 create x",
        "runc --root create",
        "runc create --bundle c1",
        "runc create ../c1",
        "runc create a/b",
        "runc start ..",
        "runc delete create",
        "conmon -c c1 -r /runc -b /b",
    ],
)
def test_what_makes_no_container(line: str) -> None:
    """Other subcommands, ids that lead out of a directory, and nonsense are nothing."""
    assert runtime_call(line.split()) is None


def test_value_that_looks_like_another_option() -> None:
    """A value may have "=" in it, begin with "-", or be a subcommand's name."""
    line = ["runc", "--log", "create", "create", "--bundle=/a=b", "--pid-file", "-x", "c1"]
    assert runtime_call(line) == RuntimeCall(Verb.CREATE, "c1", "/a=b", "-x")


@pytest.mark.parametrize(
    "line",
    [
        "conmon --api-version 1 -c c1 -u c1 -r /runc -b /b -p /p -n name --exit-dir /e -s",
        "conmon --cid=c1 --runtime=/runc --name=name --bundle=/b",
        "conmon -cc1 -r/runc -nname -i -t",
        "conmon -itc c1 -r /runc -n name",
        "conmon --exit-command-arg -n --exit-command-arg -c -c c1 -r /r -n name --syslog",
        "conmon --log-rotate -c c1 --api-version -n name --no-container-partial-message -r /r",
        "conmon --attach-slow-client -c --seccomp-notify-socket -n -c c1 -n name -r /r",
        "conmon --runtime-arg --name=other -n name --cid c1 -r /r --exit-command-arg --name",
    ],
)
def test_spellings_of_a_monitor(line: str) -> None:
    """Id and name, in all spellings; the values of other options are not taken for them."""
    call = monitor_call(line.split())
    assert call is not None
    assert (call.container_id, call.name, call.is_exec) == ("c1", "name", False)


def test_paths_of_a_monitor() -> None:
    """Bundle and pid file are given, or have their defaults; an exec session is told apart."""
    line = "conmon -c c1 -r /r -b /b -p /p -e --exec-process-spec /x"
    assert monitor_call(line.split()) == MonitorCall("c1", "", "/b", "/p", is_exec=True)
    line = "conmon -c c1 -r /r"
    assert monitor_call(line.split()) == MonitorCall("c1", "", ".", "pidfile-c1")


@pytest.mark.parametrize(
    "line", ["conmon --version", "sleep 5", "conmon -c c1", "conmon -c ../x -r /r", "sh -c c1"]
)
def test_what_is_no_monitor(line: str) -> None:
    """Without an id and a runtime it is no monitor of a container."""
    assert monitor_call(line.split()) is None


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), max_size=12))
def test_any_words(words: list[str]) -> None:
    """No command line makes the parsers fail, and an id is never a way out of a directory."""
    for call in (runtime_call(words), monitor_call(words)):
        assert call is None or ("/" not in call.container_id and call.container_id != "..")
