"""Whatever becomes of the listener, containers start."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from harness_os import TIMEOUT_S, Process
from harness_watch import (
    ADD,
    PRE_CREATE,
    REMOVE,
    Listener,
    Notify,
    Recorder,
    Room,
    is_held,
    wait_until,
)

from conmon.host import procfs
from conmon.watch import ContainerEvent, ContainerNotifier

SHORT, LONG = "0.5", "600"  # seconds, for the listener


def run_container(room: Room, name: str) -> None:
    """From creation to the last word of its entry point; the runtime's calls have a bound."""
    room.create(name, f"echo here >/out/{name}")
    room.start(name)
    wait_until((room.out / name).exists, "the entry point")


def wait_stopped(pid: int) -> None:
    wait_until(lambda: procfs.stat(pid).state == "T", "the process to stop")


def test_stopped_listener(room: Room) -> None:
    """SIGSTOP of the listener: containers start. Later it hears of them, as not paused."""
    with Listener(room, SHORT) as listener:
        listener.signal(signal.SIGSTOP)
        wait_stopped(listener.pid)
        run_container(room, "c1")
        run_container(room, "c2")
        listener.signal(signal.SIGCONT)
        lines = [listener.line().split() for _ in range(4)]
    added = [(words[1], words[3]) for words in lines if words[0] == "ADD_CONTAINER"]
    assert added == [("c1", "False"), ("c2", "False")]


@pytest.mark.parametrize("words", [[], ["hang"]], ids=["idle", "holding"])
def test_killed_listener(room: Room, words: list[str]) -> None:
    """SIGKILL of the listener, while it holds a container or not: containers start."""
    with Listener(room, LONG, *words) as listener:
        room.create("held", "echo here >/out/held")
        with room.begin("start", "held") as start:
            assert listener.line().endswith("True")
            if words:
                wait_until(lambda: is_held(start.pid), "the runtime to be held")
            listener.signal(signal.SIGKILL)
            assert start.wait(TIMEOUT_S) == 0
        run_container(room, "c1")
        listener.helper.wait_gone()


def test_listener_that_is_killed_and_has_forked(room: Room) -> None:
    """A process that the listener forked, with its fds, does not keep the helper alive."""
    with Listener(room, LONG, "fork") as listener:
        listener.signal(signal.SIGKILL)
        listener.helper.wait_gone()
        run_container(room, "c1")


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL, signal.SIGTERM])
def test_helper_that_is_stopped_or_killed(
    room: Room, notify: Notify, number: signal.Signals
) -> None:
    """Containers start, another helper takes its place, and no end is missed."""
    recorder = Recorder()
    notifier = notify(recorder, callback_timeout=1.0)
    pid = room.create("old", "sleep 1000")
    room.start("old")
    recorder.wait(ADD, "old")
    helper = Process(notifier.helper_pid)
    os.kill(helper.pid, number)
    run_container(room, "c1")
    helper.wait_gone()
    helper.close()
    wait_until(lambda: notifier.helper_pid != helper.pid, "another helper")
    assert notifier.statistics().restarts >= 1  # a busy machine may end the next one, too
    run_container(room, "c2")
    recorder.wait(REMOVE, "c2")
    os.kill(pid, signal.SIGKILL)
    recorder.wait(REMOVE, "old")
    assert recorder.of("old") == recorder.of("c2") == [ADD, REMOVE]


def test_helpers_that_do_not_stay_alive(
    room: Room,
    notify: Notify,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After several in a row none takes their place; that is said, and containers start."""
    monkeypatch.setattr(
        "conmon.watch.events.notifier._SOON_S", 600.0
    )  # a slow machine's "in a row"
    notifier = notify(Recorder())

    def is_over() -> bool:
        return notifier.helper_pid != helper.pid or not notifier.statistics().watching

    with caplog.at_level(logging.ERROR):
        while notifier.statistics().watching:
            helper = Process(notifier.helper_pid)
            helper.signal(signal.SIGKILL)
            wait_until(is_over, "another helper, or the end")
            helper.close()
    assert 1 < notifier.statistics().restarts < 10
    assert "watched no more" in caplog.text
    run_container(room, "c1")


def test_container_that_begins_and_ends_without_a_helper(room: Room, notify: Notify) -> None:
    """What was known before a helper died is not forgotten: its end is told by the next one."""
    recorder = Recorder()
    notifier = notify(recorder)
    pid = room.create("old", "sleep 1000")
    recorder.wait(ADD, "old")
    helper_pid = notifier.helper_pid
    os.kill(helper_pid, signal.SIGSTOP)
    wait_stopped(helper_pid)
    os.kill(pid, signal.SIGKILL)
    os.kill(helper_pid, signal.SIGKILL)
    removed = recorder.wait(REMOVE, "old")
    assert removed.container_pid == pid
    assert recorder.of("old") == [ADD, REMOVE]


def test_callback_that_raises(room: Room, notify: Notify, caplog: pytest.LogCaptureFixture) -> None:
    """The exception is logged, the container goes on at once, and so do the events."""

    def fail(event: ContainerEvent) -> None:
        raise ZeroDivisionError(event.container_id)

    recorder = Recorder(fail)
    notify(recorder, pre_create=True, callback_timeout=600.0)
    with caplog.at_level(logging.ERROR):
        run_container(room, "c1")
        recorder.wait(REMOVE, "c1")
    assert recorder.of("c1") == [PRE_CREATE, ADD, REMOVE]
    assert any(record.exc_info for record in caplog.records)


def test_callback_that_hangs(room: Room, notify: Notify) -> None:
    """Containers go on when the time is over; it is counted; later events come in order."""
    go = threading.Event()
    recorder = Recorder(lambda event: go.wait(4 * TIMEOUT_S))
    # c1 waits for all of it, and c3 must have its answer within it.
    notifier = notify(recorder, pre_create=True, callback_timeout=5.0)
    try:
        run_container(room, "c1")
        run_container(room, "c2")
        assert recorder.of("c1") == [PRE_CREATE]
    finally:
        go.set()
    recorder.wait(REMOVE, "c2")
    assert recorder.of("c1") == recorder.of("c2") == [PRE_CREATE, ADD, REMOVE]
    assert [event.paused for event in recorder.events if event.type is ADD] == [False, False]
    run_container(room, "c3")
    recorder.wait(REMOVE, "c3")
    assert notifier.statistics().expired == 1
    assert next(event for event in recorder.events if event.container_id == "c3").paused


def test_callback_may_run_the_runtime(room: Room, notify: Notify) -> None:
    """A callback executes the very runtime that is watched, and is not held by itself."""
    states: list[bytes] = []

    def ask(event: ContainerEvent) -> None:
        if event.type is ADD:
            argv = room.words("state", event.container_id)
            done = subprocess.run(argv, capture_output=True, timeout=TIMEOUT_S, check=True)
            states.append(done.stdout)

    recorder = Recorder(ask)
    notify(recorder, callback_timeout=600.0)
    run_container(room, "c1")
    recorder.wait(REMOVE, "c1")
    assert b'"status": "created"' in states[0]


def test_close_lets_go(room: Room, notify: Notify) -> None:
    """close() during a callback lets the container go, and no callback begins after it."""
    go = threading.Event()
    recorder = Recorder(lambda event: go.wait(4 * TIMEOUT_S))
    notifier = notify(recorder, callback_timeout=0.5, runtime_paths=[room.runtime])
    room.create("c1", "echo here >/out/c1")
    recorder.wait(ADD, "c1")
    notifier.close()
    try:
        room.start("c1")
        wait_until((room.out / "c1").exists, "the entry point")
        run_container(room, "c2")
    finally:
        go.set()
    notifier.close()
    assert recorder.of("c1") == [ADD] and recorder.of("c2") == []


def test_close_by_the_callback(room: Room, notify: Notify) -> None:
    """A callback may close its notifier."""
    made: list[ContainerNotifier] = []
    recorder = Recorder(lambda event: made[0].close())
    made.append(notify(recorder))
    run_container(room, "c1")
    assert recorder.of("c1") == [ADD]


def test_helper_without_fds(room: Room) -> None:
    """A helper that has no fds left refuses nobody: containers start, though unseen."""
    bundles = {name: room.bundle(name, "true") for name in (f"c{n}" for n in range(40))}
    with Listener(room, LONG, wrapper=["prlimit", "--nofile=32:32"]):
        for words in (["create"], ["start"]):
            with ExitStack() as stack:
                runs = []
                for name, bundle in bundles.items():
                    more = [f"--bundle={bundle}"] if words == ["create"] else []
                    runs.append(stack.enter_context(room.begin(*words, *more, name)))
                assert [run.wait(TIMEOUT_S) for run in runs] == [0] * len(runs)


def test_nothing_is_left_of_a_notifier(room: Room) -> None:
    """After close() it has no fd, no thread and no helper process."""

    def holdings() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = holdings()
    for mode in ("hold", "notify", "hold"):
        with ContainerNotifier(Recorder(), runtime_paths=[room.runtime], mode=mode) as notifier:
            helper = Process(notifier.helper_pid)
        assert not helper.alive()
        helper.close()
    assert holdings() == before


def test_callback_that_wants_to_exit(room: Room, notify: Notify) -> None:
    """SystemExit in a callback ends neither the watching nor a hold for good."""
    recorder = Recorder(lambda event: sys.exit(1))
    notify(recorder, callback_timeout=600.0)
    run_container(room, "c1")
    recorder.wait(REMOVE, "c1")
    assert recorder.of("c1") == [ADD, REMOVE]


def test_starts_by_others(room: Room, notify: Notify) -> None:
    """Other users who try to start a container leave room among those who wait for ADD."""
    go = threading.Event()
    recorder = Recorder(lambda event: go.wait(4 * TIMEOUT_S))
    with ExitStack() as stack:
        # they must reach the runtime; its state they cannot
        place = Path(stack.enter_context(TemporaryDirectory()))
        place.chmod(0o755)
        room.runtime = Path(shutil.move(room.runtime, place))
        notify(recorder, callback_timeout=600.0)
        room.create("c1", "echo here >/out/c1")
        recorder.wait(ADD, "c1")
        argv = ["setpriv", "--reuid=65534", "--clear-groups", *room.words("start", "c1")]
        others = []
        for _ in range(40):
            other = subprocess.Popen(["sh", "-c", 'exec "$@" 2>/dev/null', "sh", *argv])
            others.append(stack.enter_context(other))
        stack.callback(go.set)
        wait_until(lambda: sum(other.poll() is not None for other in others) > 20, "the others")
        start = stack.enter_context(room.begin("start", "c1"))
        wait_until(lambda: is_held(start.pid), "the runtime to be held")
        assert not (room.out / "c1").exists()
        go.set()
        assert start.wait(TIMEOUT_S) == 0
        assert all(other.wait(TIMEOUT_S) != 0 for other in others)


def test_two_notifiers(room: Room, notify: Notify) -> None:
    """Each of them holds the container, and each is told everything."""
    recorders = [Recorder(), Recorder()]
    for recorder in recorders:
        notify(recorder, pre_create=True)
    run_container(room, "c1")
    for recorder in recorders:
        recorder.wait(REMOVE, "c1")
        assert recorder.of("c1") == [PRE_CREATE, ADD, REMOVE]
        assert [event.paused for event in recorder.events] == [True, True, False]
