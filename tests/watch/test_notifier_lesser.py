"""Without privileges: what is missing is named, and the lesser mode sees what it can."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness_os import TIMEOUT_S
from harness_watch import ADD, REMOVE, STAGE, Listener, Notify, Recorder, Room

from conmon.oci import runtimes
from conmon.watch import ContainerNotifier, Source, support_details, supported
from conmon.watch.events import support

#: a shell's words that run a command without any capability, though as the same user
POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
ASK = """
import json
from conmon.watch import ContainerNotifier, support_details, supported
try:
    ContainerNotifier(print, mode="hold")
except PermissionError as error:
    missing = [name for name, one in support_details().items() if not one.ok]
    print(json.dumps([supported(), missing, str(error)]))
"""


@pytest.fixture
def own_state(room: Room, monkeypatch: pytest.MonkeyPatch) -> Room:
    """A room whose runtime keeps its state where that of an ordinary user does."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(room.dir / "run"))
    room.state = room.dir / "run" / "runc"
    return room


def test_closed(room: Room) -> None:
    """What is asked of a notifier that is closed is an error, not forgotten in silence."""
    with ContainerNotifier(print, mode="notify") as notifier:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        notifier.add_watch_container_termination("abc", os.getpid())


def test_all_is_supported_here(room: Room) -> None:
    """With all privileges mode "hold" is supported, and nothing is missing."""
    assert supported()
    assert support.missing(support_details()) == []


def test_what_is_missing_is_named(room: Room) -> None:
    """Each missing permission is named with what would grant it; PermissionError says all."""
    argv = [*POWERLESS, sys.executable, "-c", ASK]
    done = subprocess.run(
        argv,
        env={**os.environ, "PYTHONPATH": str(STAGE)},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    is_supported, missing, text = json.loads(done.stdout)
    assert not is_supported
    assert missing == ["fanotify permission events", "memory of other processes"]
    assert "CAP_SYS_ADMIN" in text and "CAP_SYS_PTRACE" in text


def test_mode_that_does_not_exist() -> None:
    """It is an error of the caller, as is a time that is none."""
    with pytest.raises(ValueError, match="mode"):
        ContainerNotifier(print, mode="other")  # type: ignore[arg-type]
    for timeout in (0, -1, float("nan"), 1e9):
        with pytest.raises(ValueError, match="callback_timeout"):
            ContainerNotifier(print, callback_timeout=timeout)


def test_notify_by_state_directories(own_state: Room, notify: Notify, any_conmon: Path) -> None:
    """Name, bundle, configuration and status are there; nothing pretends to be paused."""
    recorder = Recorder()
    notifier = notify(recorder, mode="notify", pre_create=True)
    assert notifier.mode == "notify" and notifier.limits == support.NOTIFY_LIMITS
    pid = own_state.monitored(any_conmon, "c1", "exit 5", "happy_name", hostname="somewhere")
    added = recorder.wait(ADD, "c1")
    own_state.start("c1")
    removed = recorder.wait(REMOVE, "c1")
    assert recorder.of("c1") == [ADD, REMOVE]
    assert (added.container_pid, added.paused, added.source) == (pid, False, Source.STATE)
    assert added.container_name == removed.container_name == "happy_name"
    assert added.bundle == str(own_state.dir / "bundles" / "c1")
    assert added.container_config is not None
    assert added.container_config["hostname"] == "somewhere"
    assert added.conmon_pid > 0
    assert removed.exit_status == 5


def test_notify_without_privileges(own_state: Room) -> None:
    """Without any capability the mode is "notify"; begin and end of containers are seen."""
    with Listener(own_state, "20", "auto", wrapper=POWERLESS) as listener:
        assert listener.mode == "notify"
        pid = own_state.create("c1", "sleep 1000")
        assert listener.line() == f"ADD_CONTAINER c1 {pid} False"
        os.kill(pid, signal.SIGKILL)
        assert listener.line() == f"REMOVE_CONTAINER c1 {pid} False"


def test_hold_with_what_is_named_only(room: Room) -> None:
    """The two capabilities that support_details() asks for are enough."""
    caps = "-all,+sys_admin,+sys_ptrace"
    wrapper = ["setpriv", f"--bounding-set={caps}", "--inh-caps=-all"]
    with Listener(room, "20", "auto", wrapper=wrapper) as listener:
        assert listener.mode == "hold"
        pid = room.create("c1", "sleep 1000")
        assert listener.line() == f"ADD_CONTAINER c1 {pid} True"
        os.kill(pid, signal.SIGKILL)
        assert listener.line() == f"REMOVE_CONTAINER c1 {pid} False"


def test_notify_leaves_out_what_was_there(own_state: Room, notify: Notify) -> None:
    """Containers from before are told of only with `initial`."""
    own_state.create("old", "sleep 1000")
    recorder, first = Recorder(), Recorder()
    notify(recorder, mode="notify")
    notify(first, mode="notify", initial=True)
    first.wait(ADD, "old")
    own_state.create("c1", "sleep 1000")
    recorder.wait(ADD, "c1")
    assert recorder.of("old") == []


def test_notify_when_state_directories_go_and_come(own_state: Room, notify: Notify) -> None:
    """A state directory that is removed and made anew, with all above it, is watched again."""
    recorder = Recorder()
    notify(recorder, mode="notify")
    for name in ("c1", "c2"):
        pid = own_state.create(name, "sleep 1000")
        recorder.wait(ADD, name)
        os.kill(pid, signal.SIGKILL)
        recorder.wait(REMOVE, name)
        own_state.runc("delete", "--force", name)
        shutil.rmtree(own_state.dir / "run")


def test_notify_ignores_states_that_are_stale(own_state: Room, notify: Notify) -> None:
    """A state file whose process is gone, or another one by now, is no container."""
    own_state.state.mkdir(parents=True)
    states = {
        "gone": {"init_process_pid": 4_000_000, "init_process_start": 1},
        "other": {"init_process_pid": os.getpid(), "init_process_start": 1},
    }
    for name, state in states.items():
        (own_state.state / name).mkdir()
        (own_state.state / name / "state.json").write_text(json.dumps(state))
    recorder = Recorder()
    notify(recorder, mode="notify", initial=True)
    own_state.create("c1", "sleep 1000")
    recorder.wait(ADD, "c1")
    assert recorder.of("gone") == recorder.of("other") == []


def test_default_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """RUNTIME_PATH replaces the list of runtimes; state directories of the user come first."""
    monkeypatch.delenv("RUNTIME_PATH", raising=False)
    assert "/usr/bin/crun" in runtimes.runtime_paths()
    monkeypatch.setenv("RUNTIME_PATH", "/a:/b")
    assert runtimes.runtime_paths() == ["/a", "/b"]
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/x")
    assert runtimes.state_roots()[0] == "/x/runc"
    assert "/run/crun" in runtimes.state_roots()
