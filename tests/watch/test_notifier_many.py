"""Many containers at once, and many that never come to be."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness_os import TIMEOUT_S, Deadline
from harness_watch import ADD, PRE_CREATE, REMOVE, Notify, Recorder, Room, wait_until

MANY = 200
FAILED = 130  # more than the fanotify groups that a user may have


def test_200_concurrent_starts(room: Room, notify: Notify) -> None:
    """Of containers that start all at once each is seen, once, in order, held, with its status."""
    recorder = Recorder()
    notifier = notify(recorder, pre_create=True, callback_timeout=600.0)
    names = [f"c{number}" for number in range(MANY)]

    def start(name: str) -> None:
        # in one process each: all runtimes may be held at the same time
        with room.begin("start", name) as process:
            assert process.wait(4 * TIMEOUT_S) == 0

    with ThreadPoolExecutor(MANY) as pool:
        pids = list(pool.map(lambda name: room.create(name, f"exit {int(name[1:]) % 7}"), names))
        list(pool.map(start, names))
    removed = recorder.wait_count(REMOVE, MANY)
    for name in names:
        assert recorder.of(name) == [PRE_CREATE, ADD, REMOVE]
    added = recorder.wait_count(ADD, MANY)
    assert sorted(event.container_pid for event in added) == sorted(pids)
    assert all(event.paused for event in added)
    assert {event.container_id: event.exit_status for event in removed} == {
        name: int(name[1:]) % 7 for name in names
    }
    assert notifier.statistics().lost == notifier.statistics().expired == 0


def holdings(helper_pid: int) -> tuple[int, list[str]]:
    """How many fds the helper has, and its marks and watches as the kernel lists them."""
    fds = Path(f"/proc/{helper_pid}/fd")
    marks = []
    for fd in os.listdir(fds):
        try:
            lines = Path(f"/proc/{helper_pid}/fdinfo/{fd}").read_text().splitlines()
        except FileNotFoundError:
            continue  # it has just been closed
        marks += [line for line in lines if line.startswith(("fanotify", "inotify", "tfd"))]
    return len(os.listdir(fds)), sorted(line.split("pos:")[0] for line in marks)


def settled_holdings(helper_pid: int) -> tuple[int, list[str]]:
    """What it holds once it is done with what it was told: the same twice."""
    deadline = Deadline()
    before = holdings(helper_pid)
    time.sleep(0.05)  # a window in which nothing may happen, not a wait for something
    while (now := holdings(helper_pid)) != before:
        assert not deadline.passed(), now
        before = now
        time.sleep(0.05)
    return now


def test_130_failed_creations(room: Room, notify: Notify) -> None:
    """They are told as PRE_CREATE only, and leave nothing behind in the helper."""
    recorder = Recorder()
    notifier = notify(recorder, pre_create=True, callback_timeout=600.0)

    def run(name: str) -> None:
        room.create(name, "true")
        room.start(name)
        recorder.wait(REMOVE, name)

    def fail(number: int) -> int:
        bundle = room.bundle(f"bad{number}", "true", root={"path": str(room.dir / "nothing")})
        words = ("create", "--bundle", bundle, "--pid-file", bundle / "pid", f"bad{number}")
        with room.begin(*words) as process:
            return process.wait(4 * TIMEOUT_S)

    run("first")
    before = settled_holdings(notifier.helper_pid)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(fail, range(FAILED)))
    run("last")
    assert recorder.of("last") == [PRE_CREATE, ADD, REMOVE]
    assert [event.type for event in recorder.events].count(PRE_CREATE) == FAILED + 2
    assert len(recorder.wait_count(ADD, 2)) == len(recorder.wait_count(REMOVE, 2)) == 2
    wait_until(lambda: holdings(notifier.helper_pid) == before, "the helper to let go of all")
