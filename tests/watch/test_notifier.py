"""The events of real containers: each in its turn, and what they say."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

from harness_os import TIMEOUT_S
from harness_watch import ADD, PRE_CREATE, REMOVE, Notify, Recorder, Room, is_held, wait_until

from conmon.watch import Source


def test_life_of_a_container_under_a_monitor(room: Room, notify: Notify, any_conmon: Path) -> None:
    """Events are PRE_CREATE, ADD, REMOVE; name, bundle, configuration, pid and status are right."""
    recorder = Recorder()
    notify(recorder, pre_create=True)
    pid = room.monitored(any_conmon, "c1", "exit 5", "happy_name", hostname="somewhere")
    added = recorder.wait(ADD, "c1")
    room.start("c1")
    removed = recorder.wait(REMOVE, "c1")
    assert recorder.of("c1") == [PRE_CREATE, ADD, REMOVE]
    bundle = room.dir / "bundles" / "c1"
    for event in recorder.events:
        assert event.container_name == "happy_name"
        assert event.bundle == str(bundle)
        assert event.runtime == str(room.runtime)
        assert event.pid_file == str(bundle / "pid")
        assert event.uid == 0
        assert event.conmon_pid > 0
    created = recorder.events[0]
    assert created.container_config == json.loads((bundle / "config.json").read_text())
    assert created.paused and created.container_pid == 0
    assert added.paused and added.container_pid == pid
    assert added.container_config == created.container_config
    assert added.source is Source.EXEC
    assert removed.container_pid == pid
    assert (removed.exit_status, removed.exit_signal) == (5, None)
    assert not removed.paused and removed.source is Source.PIDFD
    assert created.mono_ns <= added.mono_ns <= removed.mono_ns


def test_pre_create_is_told_only_if_asked_for(room: Room, notify: Notify) -> None:
    """Without `pre_create` a container begins with ADD."""
    recorder = Recorder()
    notify(recorder)
    room.create("c1")
    room.start("c1")
    recorder.wait(REMOVE, "c1")
    assert recorder.of("c1") == [ADD, REMOVE]


def test_end_by_a_signal(room: Room, notify: Notify) -> None:
    """A container that a signal ended has that signal, and 128 plus it as its status."""
    recorder = Recorder()
    notify(recorder)
    pid = room.create("c1", "sleep 1000")
    room.start("c1")
    os.kill(pid, signal.SIGKILL)
    removed = recorder.wait(REMOVE, "c1")
    assert (removed.exit_status, removed.exit_signal) == (137, signal.SIGKILL)


def test_entry_point_waits_for_the_callback_of_add(
    room: Room, notify: Notify, any_conmon: Path
) -> None:
    """While the callback of a paused ADD runs, the entry point has not run; then it does."""
    go = threading.Event()
    recorder = Recorder(lambda event: event.type is ADD and go.wait(TIMEOUT_S))
    notify(recorder)
    room.monitored(any_conmon, "c1", "echo here >/out/mark")
    with room.begin("start", "c1") as start:
        assert recorder.wait(ADD, "c1").paused
        wait_until(lambda: is_held(start.pid), "the runtime to be held")
        assert not (room.out / "mark").exists()
        go.set()
        assert start.wait(TIMEOUT_S) == 0
    recorder.wait(REMOVE, "c1")
    assert (room.out / "mark").read_text() == "here\n"


def test_creation_waits_for_the_callback_of_pre_create(room: Room, notify: Notify) -> None:
    """While the callback of a paused PRE_CREATE runs, the runtime has done nothing."""
    go = threading.Event()
    recorder = Recorder(lambda event: go.wait(TIMEOUT_S))
    notify(recorder, pre_create=True)
    bundle = room.bundle("c1", "true")
    with room.begin("create", "--bundle", bundle, "--pid-file", bundle / "pid", "c1") as create:
        assert recorder.wait(PRE_CREATE, "c1").paused
        wait_until(lambda: is_held(create.pid), "the runtime to be held")
        assert not room.state.exists()
        go.set()
        assert create.wait(TIMEOUT_S) == 0
    recorder.wait(ADD, "c1")
