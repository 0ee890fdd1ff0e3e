"""A running monitor can be watched without being disturbed (docs/counters.md)."""

from __future__ import annotations

import pytest
from harness import Container
from harness_counters import read_counters, wait_counters
from harness_proc import context_switches, settled

pytestmark = pytest.mark.ours("it has no counters")


def test_counters_of_the_log(container: Container) -> None:
    """Bytes and records in and written, while the container runs; gone with conmon."""
    container.fifo("go")
    container.command("echo first; echo second >&2; read -r _ <go")
    container.launch()
    container.started()
    container.wait_log(b" first\n")
    container.wait_log(b" second\n")
    settled(container.monitor.pid)  # it counts what it has written after the write
    counters = read_counters(container)
    assert counters["bytes_in"] == len("first\nsecond\n")
    assert counters["records"] == 2
    assert counters["bytes_logged"] == container.log.stat().st_size
    assert counters["bytes_dropped"] == counters["records_dropped"] == 0
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0
    assert not (container.bundle / "conmon-counters").is_symlink()


def test_clients_and_reopens_are_counted(container: Container) -> None:
    """Attach clients, now and in all, and reopens on request."""
    container.fifo("start")
    container.command("exit 0")
    container.launch()
    container.started()
    client = container.attach()
    wait_counters(container, lambda now: now["clients"] == now["clients_now"] == 1)
    container.log.rename(container.log.with_suffix(".moved"))
    container.allow("logs/ctr.moved")
    (container.bundle / "ctl").write_text("2 0 0\n")
    container.wait_name(container.log)
    assert read_counters(container)["reopens"] == 1
    client.close()
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0


def test_reading_does_not_wake_the_monitor(container: Container) -> None:
    """A hundred reads leave the monitor asleep."""
    container.fifo("start")
    container.command("exit 0")
    container.launch()
    container.started()
    container.attach().close()
    wait_counters(container, lambda now: now["clients_now"] == 0)
    pid = container.monitor.pid
    before = settled(pid), read_counters(container)["wake_ups"]
    for _ in range(100):
        read_counters(container)
    assert (context_switches(pid), read_counters(container)["wake_ups"]) == before
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0
