"""C21.4: a log that takes no more (a fifo that nobody reads) holds up nothing but the output."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest
from harness import Container
from harness_counters import read_counters, wait_counters
from harness_fifo import FifoReader
from harness_log import lines, records
from harness_proc import sleep_limit_ms

pytestmark = pytest.mark.ours("it blocks (C21.4)")

# More than fifo, pipe and what conmon reads at once take together.
FLOOD = b"".join(b"line %09d\n" % number for number in range(200_000))


@pytest.fixture
def reader(container: Container) -> Iterator[FifoReader]:
    """The log is a fifo; its reader reads only when it is told to."""
    os.mkfifo(container.log)
    reader = FifoReader(container.log)
    yield reader
    reader.close()


def blocked(container: Container, reader: FifoReader, command: str, *options: str) -> None:
    """A container that has filled its log."""
    container.put("data", FLOOD)
    container.fifo("go")
    container.command(command)
    container.launch(*options)
    container.started()
    reader.wait_full()


def flood_logged(log: bytes) -> list[bytes]:
    """The whole lines of the log, which must be the first of the flood."""
    found = lines(log)
    if found and not found[-1].endswith(b"\n"):
        found.pop()
    assert found == FLOOD.splitlines(keepends=True)[: len(found)]
    return found


def test_signals_are_passed_on(container: Container, reader: FifoReader) -> None:
    """C21.4: TERM reaches the container while its log takes nothing."""
    blocked(container, reader, "trap 'exit 7' TERM; cat data & wait; read -r _ <go")
    container.monitor.signal(signal.SIGTERM)
    assert container.end() == 7
    assert flood_logged(reader.read_all())


def test_the_end_is_seen(container: Container, reader: FifoReader) -> None:
    """C21.4: the exit files of a container that dies come at once, and conmon ends."""
    blocked(container, reader, "cat data; read -r _ <go")
    container.kill(int(container.pidfile.read_bytes()))
    assert flood_logged(reader.read_all())


def test_timeout(container: Container, reader: FifoReader) -> None:
    """C21.4, C17.4: --timeout ends the container."""
    blocked(container, reader, "cat data; read -r _ <go", "--timeout", "3")
    assert container.end() == -1
    assert flood_logged(reader.read_all())


def test_clients_are_served(container: Container, reader: FifoReader) -> None:
    """C21.4: a client is let in, and what it sends reaches the container."""
    container.options["-i"] = None
    blocked(container, reader, "cat data & read -r code; exit $code")
    client = container.attach()
    client.send(b"9\n")
    assert container.end() == 9
    client.close()
    assert flood_logged(reader.read_all())


def test_nothing_is_lost_by_a_slow_reader(container: Container, reader: FifoReader) -> None:
    """C21.4: the container waits, and every record comes, whole and in its place."""
    blocked(container, reader, "cat data; echo done; read -r _ <go")
    assert container.monitor.alive()
    assert lines(reader.read_until(b" F done\n")) == [*FLOOD.splitlines(keepends=True), b"done\n"]
    assert read_counters(container)["log_stalls"] > 0
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


def test_what_is_left_at_the_end_arrives(container: Container, reader: FifoReader) -> None:
    """C21.4: conmon does not wait for the reader, and the reader loses nothing."""
    lines_then = FLOOD.splitlines(keepends=True)[:8000]  # in pipe and fifo, and more with headers
    container.put("data", b"".join(lines_then))
    container.command("cat data; exit 3")
    container.launch()
    container.started()
    assert container.end() == 3  # and conmon has gone
    assert lines(reader.read_all()) == lines_then


def test_reader_that_goes_after_the_end(container: Container, reader: FifoReader) -> None:
    """C21.4: what still writes to the log then ends as well."""
    blocked(container, reader, "cat data; read -r _ <go")
    container.kill(int(container.pidfile.read_bytes()))
    reader.close()
    assert container.nothing_runs()


def test_reader_that_goes_and_comes_again(container: Container, reader: FifoReader) -> None:
    """C21.4, C20.9: meanwhile output is dropped; the log says exactly how much, and is not torn."""
    blocked(container, reader, "cat data; read -r _ <go; echo again; read -r _ <go")
    before = reader.data
    reader.close()
    wait_counters(container, lambda counters: counters["bytes_in"] == len(FLOOD))
    sleep_limit_ms(container.monitor.pid)  # it sleeps: the last of it was written, or dropped
    # read last: the fifo keeps what nobody has read
    second = FifoReader(container.log)
    container.open_fifo(container.bundle / "go")
    log = before + second.read_until(b" F again\n")
    counters = read_counters(container)
    found = [record for record in records(log) if record.stream == "stdout"]
    [marker] = [record.data for record in records(log) if record.stream == "stderr"]
    assert found.pop().data == b"again"
    logged = b"".join(record.data + b"\n" for record in found if record.tag == "F")
    assert FLOOD.startswith(logged)
    missing = len(FLOOD) - sum(len(record.data) + (record.tag == "F") for record in found)
    match = re.fullmatch(rb"conmon: (\d+) bytes of output were not logged: Broken pipe", marker)
    assert match
    assert int(match[1]) == counters["bytes_dropped"] == missing
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0
    second.close()


def test_reopening_while_it_waits(container: Container, reader: FifoReader) -> None:
    """C21.4, C11.4: ctl is read: a log that was moved away is followed by a new one at once.

    What the old one had not taken goes there. Only the record that it has a part of is lost.
    """
    blocked(container, reader, "cat data; echo done; read -r _ <go")
    moved = container.log.with_name("moved")
    container.allow("logs/moved")
    container.log.rename(moved)
    (container.bundle / "ctl").write_bytes(b"2 0 0\n")
    container.wait_log(b" F done\n")
    dropped = read_counters(container)["records_dropped"]
    old = reader.read_all().splitlines(keepends=True)
    torn = 0 if old[-1].endswith(b"\n") else 1
    found = lines(b"".join(old[: len(old) - torn])) + lines(container.log.read_bytes())
    expected = [*FLOOD.splitlines(keepends=True), b"done\n"]
    present = set(found)
    assert len(expected) - len(present) == dropped == torn
    assert found == [line for line in expected if line in present]
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0
