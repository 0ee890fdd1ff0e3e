"""Parts of the notifier by themselves: holds, messages, state files, the loop."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from harness_os import TIMEOUT_S
from hypothesis import given, settings
from hypothesis import strategies as st

from conmon.host.place import Place
from conmon.oci import states
from conmon.watch.events.client import Client
from conmon.watch.events.holds import Holds
from conmon.watch.events.link import Decoder, Outbox, encode, receive
from conmon.watch.events.loop import Loop
from conmon.watch.events.report import Reporter

LONG_NS = 600 * 10**9
# what the three runtimes write, shortened
RUNC = {
    "id": "c1",
    "init_process_pid": 7,
    "init_process_start": 99,
    "config": {"labels": ["x=y", "bundle=/b"]},
}
CRUN = {"pid": 7, "process-start-time": 99, "bundle": "/b", "created": "2026"}
YOUKI = {"id": "c1", "pid": 7, "bundle": "/b", "status": "running"}


def test_hold_ends_with_the_answer() -> None:
    """Threads wait until the callback has returned; who comes later goes on at once."""
    allowed: list[int] = []
    holds = Holds(allowed.append)
    hold = holds.begin(LONG_NS)
    holds.wait(hold, 3)
    holds.wait(hold, 4)
    holds.expire()
    assert allowed == []
    holds.answered(hold.number)
    assert allowed == [3, 4]
    holds.wait(hold, 5)
    holds.answered(hold.number)
    assert allowed == [3, 4, 5]
    assert holds.expired == 0


def test_hold_ends_at_its_deadline() -> None:
    """After it nobody waits, nor does any other container while the callback is stuck."""
    allowed: list[int] = []
    holds = Holds(allowed.append)
    earlier = holds.begin(LONG_NS)
    holds.wait(earlier, 3)
    stuck = holds.begin(1)
    holds.wait(stuck, 4)
    time.sleep(1e-6)
    holds.expire()
    assert allowed == [4] and holds.expired == 1
    holds.wait(holds.begin(LONG_NS), 5)
    assert allowed == [4, 5]  # the promise made earlier is kept
    holds.answered(stuck.number)
    holds.wait(holds.begin(LONG_NS), 6)
    assert allowed == [4, 5]


def test_holds_have_a_bound() -> None:
    """No more threads and containers are held than there are fds for."""
    allowed: list[int] = []
    holds = Holds(allowed.append)
    hold = holds.begin(LONG_NS)
    for fd in range(100):
        holds.wait(hold, fd)
    assert 0 < len(allowed) < 100
    several = [holds.begin(LONG_NS) for _ in range(1000)]
    assert 0 < sum(one.number == 0 for one in several) < 1000


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(), st.text()), max_size=5), st.integers(1, 50))
def test_messages_in_pieces(messages: list[dict[str, str]], size: int) -> None:
    """Messages come out as they went in, however the stream is cut."""
    data = b"".join(map(encode, messages))
    decoder = Decoder()
    found = []
    for start in range(0, len(data), size):
        found += decoder.feed(data[start : start + size])
    assert found == messages


def test_message_with_bytes_that_are_no_text() -> None:
    """Surrogate escapes pass."""
    assert Decoder().feed(encode({"path": "/\udcff"})) == [{"path": "/\udcff"}]


def test_outbox_does_not_wait() -> None:
    """What the other side does not read is kept, in order, until it does."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        outbox = Outbox(ours)
        texts = [str(number) * 1000 for number in range(1000)]
        for text in texts:
            outbox.send({"text": text})
        assert len(outbox) > 0
        decoder = Decoder()
        found: list[Any] = []
        while len(found) < len(texts):
            found += receive(theirs, decoder) or []
            outbox.flush()
        assert [message["text"] for message in found] == texts
        theirs.close()
        outbox.send({"text": "nobody"})
        assert len(outbox) == 0


@pytest.mark.parametrize("side", ["notifier", "helper"])
def test_sigpipe_ends_nobody(side: str) -> None:
    """A program in which SIGPIPE is not ignored lives on when the other side has gone."""
    ours, theirs = socket.socketpair()
    theirs.close()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if side == "helper":
            Outbox(ours).send({"kind": "ready"})
        else:
            client = object.__new__(Client)
            client._lock, client._stream = threading.Lock(), ours
            client.send({"kind": "release"})
        os._exit(0)
    ours.close()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_notifier_that_is_too_far_behind(caplog: pytest.LogCaptureFixture) -> None:
    """Events are lost then, and counted; the log says so once."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        outbox = Outbox(ours)
        reporter = Reporter(outbox)
        assert not reporter.is_full()
        outbox.send({"text": "x" * (65 << 20)})
        assert reporter.is_full() and reporter.is_full()
    assert reporter.lost == 2
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("name", "data", "start"),
    [("state.json", RUNC, 99), ("status", CRUN, 99), ("state.json", YOUKI, None)],
    ids=["runc", "crun", "youki"],
)
def test_states(tmp_path: Path, name: str, data: dict[str, Any], start: int | None) -> None:
    """Pid, start time and bundle are found in the state files of all runtimes."""
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / name).write_text(json.dumps(data))
    place = Place("/", "/")
    roots = ["/nonexistent", str(tmp_path)]
    found = states.find(place, roots, "c1")
    assert found is not None
    assert (found.container_id, found.pid, found.start_time, found.bundle) == ("c1", 7, start, "/b")
    assert states.find(place, roots, "c2") is None
    place.close()


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"pid": 0}', '{"pid": "7"}', "[" * 99999])
def test_states_that_are_none(tmp_path: Path, text: str) -> None:
    """A file that is empty, broken or without a process is no state."""
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / "state.json").write_text(text)
    place = Place("/", "/")
    assert states.read(place, str(tmp_path), "c1") is None
    assert states.read(place, str(tmp_path), "../c1") is None
    place.close()


def test_place_stays_below_its_root(tmp_path: Path) -> None:
    """Absolute links and ".." lead to the place's own root; large files are refused."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "name").write_text("inside")
    (tmp_path / "link").symlink_to("/etc/name")
    (tmp_path / "up").symlink_to("../../../../../../etc/name")
    place = Place(str(tmp_path), "/etc")
    for path in ("/link", "/up", "name", "../etc/name", "/../../etc/name"):
        assert place.read(path, 6) == b"inside"
    with pytest.raises(OSError, match="at most 5 bytes"):
        place.read("name", 5)
    with pytest.raises(OSError, match="at most"):
        place.read("/etc", 100)
    assert place.path("name") == "/etc/name"
    place.close()


def test_loop_calls_in_time_and_order(caplog: pytest.LogCaptureFixture) -> None:
    """Actions come in the order of their times, whatever fails; forgotten fds are not served."""
    rounds: list[None] = []
    loop = Loop(lambda: rounds.append(None), int(TIMEOUT_S) * 10**9)
    called: list[str] = []
    now = time.monotonic_ns()

    def first() -> None:
        called.append("first")
        later = time.monotonic_ns() + 2_000_000  # so in another round, however slow this one is
        loop.at(later, loop.stop)
        loop.at(later, lambda: called.append("second"))

    left, right = socket.socketpair()
    with left, right:
        left.send(b"x")

        def serve(_: int) -> None:
            called.append("fd")
            loop.forget(right.fileno())

        loop.watch(right.fileno(), serve)
        loop.at(now + 1_000_000, lambda: called.append(str(1 // 0)))
        loop.at(now, first)
        loop.run()
    assert called == ["fd", "first", "second"]
    assert "ZeroDivisionError" in caplog.text
    assert len(rounds) >= 2
