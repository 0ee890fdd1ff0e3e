"""conmonctl stats."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

from harness import Container
from harness_counters import wait_counters
from harness_proc import settled

from conmon.ctl.commands.stats import MEANING

from .scenes import cid, finish, name, running
from .tool import TOP, Tool, read_lines


def test_counters(conmonctl: Tool, container: Container) -> None:
    """stats: the counters that the monitor publishes, as a table and as JSON."""
    running(container, "echo hello")
    container.wait_log(b" hello\n")
    (line,) = conmonctl("stats", "--json", cid(container)).objects
    assert (line["id"], line["monitor_pid"]) == (cid(container), container.monitor.pid)
    assert line["counters"]["bytes_in"] == 6
    assert line["counters"]["bytes_logged"] == container.log.stat().st_size
    table = conmonctl("stats", cid(container)).out
    rows = {row.split()[0]: row.split()[1] for row in table.splitlines()[1:]}
    assert rows["records"] == "1"
    assert list(rows) == list(line["counters"])
    assert cid(container)[:12] in conmonctl("stats").out
    finish(container)


def test_every_counter_is_explained(conmonctl: Tool, container: Container) -> None:
    """stats: each counter of the monitor has words; and the page about counters has it too."""
    running(container)
    (line,) = conmonctl("stats", "--json", cid(container)).objects
    page = (TOP / "docs" / "counters.md").read_text()
    for counter in line["counters"]:
        assert counter in MEANING
        assert f"`{counter}`" in page
    finish(container)


def test_the_monitor_is_not_disturbed(conmonctl: Tool, container: Container) -> None:
    """stats, ps: looking does not wake the monitor."""
    running(container)
    container.attach().close()
    wait_counters(container, lambda now: (now["clients"], now["clients_now"]) == (1, 0))
    settled(container.monitor.pid)
    (before,) = conmonctl("stats", "--json", cid(container)).objects
    conmonctl("ps", cid(container))
    (after,) = conmonctl("stats", "--json", cid(container)).objects
    assert before["counters"] == after["counters"]
    finish(container)


def test_following(conmonctl: Tool, container: Container) -> None:
    """stats -f in a pipe: a heading, then a line each time; it ends with the container."""
    running(container)
    args = ("stats", "-f", "-i", "0.1", name(container))
    with conmonctl.start(*args) as process:
        head, *rows = read_lines(process, 3)
        assert head.split()[:3] == [b"TIME", b"CONTAINER", b"NAME"]
        assert [row.split()[2] for row in rows] == [name(container).encode()] * 2
        assert rows[0].split()[5] == b"-"
        assert rows[1].split()[5] == b"0B"
        finish(container)
        assert process.wait(timeout=30) == 0


def test_following_so_many_times(conmonctl: Tool, container: Container) -> None:
    """stats --count: so many samples, an object each, with the time."""
    running(container)
    done = conmonctl("stats", "--json", "-i", "0.1", "-c", "3", cid(container))
    assert len(done.objects) == 3
    assert all(json.dumps(line["time"]) for line in done.objects)
    finish(container)


def test_interrupt(conmonctl: Tool, container: Container) -> None:
    """stats -f: ctrl-c ends it as the signal does, without a word."""
    running(container)
    with conmonctl.start("stats", "-f", "-i", "600", cid(container)) as process:
        read_lines(process, 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == -signal.SIGINT
        assert process.stderr is not None
        assert process.stderr.read() == b""
    finish(container)


def test_c_conmon(conmonctl: Tool, make: Callable[..., Container], peer: Path) -> None:
    """stats: asked for a C conmon's counters, it says that there are none."""
    container = make(peer)
    running(container)
    done = conmonctl("stats", name(container), code=1)
    assert "C conmon" in done.err
    assert name(container) not in conmonctl("stats").out
    finish(container)
