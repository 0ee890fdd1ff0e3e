"""E4: lines that come close after each other are logged together, where nobody sees a difference.

What is left alone shows by the order of events: a line that the container has written is in the
log when conmon has done what it was asked for after it, unless the stream is not waited for.
"""

from __future__ import annotations

import os

import pytest
from harness import Container
from harness_counters import read_counters, wait_counters
from harness_fifo import FifoReader
from harness_log import lines, records
from harness_puppet import Puppet
from harness_terminal import control

LONG = "1000"  # ms: a line that waits, waits longer than the next request takes
TRIES = 200
OUT, ERR = 2, 3

pytestmark = pytest.mark.ours("each line is logged at once")


def launch(container: Container, latency: str = LONG, *options: str) -> Puppet:
    container.allow("bundle/puppet")
    container.command(f"exec {Puppet.PROGRAM} puppet")
    container.launch("--log-latency", latency, *options)
    container.started()
    return Puppet(container)


def next_request(container: Container) -> None:
    """Have conmon do something, after all that was there before."""
    reopens = read_counters(container)["reopens"]
    control(container, b"2 0 0\n")
    wait_counters(container, lambda counters: counters["reopens"] > reopens)


def is_logged_at_once(container: Container, puppet: Puppet, stream: int, line: bytes) -> bool:
    puppet.write(stream, line)
    next_request(container)
    return line in container.log.read_bytes()


def write_steadily(container: Container, puppet: Puppet) -> int:
    """Write numbered lines until one waits; its number."""
    for number in range(TRIES):
        if not is_logged_at_once(container, puppet, OUT, b"%d.\n" % number):
            return number
    pytest.fail(f"{TRIES} lines were logged one at a time")


def finish(container: Container, puppet: Puppet) -> bytes:
    """The log, when the container has ended."""
    puppet.quit(7)
    puppet.close()
    assert container.end() == 7
    return container.log.read_bytes()


def test_lines_are_logged_together(container: Container) -> None:
    """E4: lines that follow are read together, and each once and whole."""
    puppet = launch(container)
    first = write_steadily(container, puppet)
    more = range(first + 1, first + 40)
    for number in more:
        puppet.write(OUT, b"%d.\n" % number)
    log = container.wait_log(b" %d.\n" % more[-1])
    assert lines(log) == [b"%d.\n" % number for number in range(more.stop)]
    assert len({record.time for record in records(log)[first:]}) < len(more)
    finish(container, puppet)


def test_the_end_is_not_delayed_for_it(container: Container) -> None:
    """E4, C17.1: what waits when the container ends is in the log before the exit file."""
    puppet = launch(container)
    last = write_steadily(container, puppet)
    log = finish(container, puppet)
    assert lines(log) == [b"%d.\n" % number for number in range(last + 1)]


def test_first_lines_do_not_wait(container: Container) -> None:
    """E4: a line after a pause is logged at once; so are those of a writer who is not steady."""
    puppet = launch(container)
    assert write_steadily(container, puppet) >= 3
    finish(container, puppet)


def test_stdout_and_stderr_keep_their_order(container: Container) -> None:
    """E4: a line on the other stream is logged at once, behind what waits."""
    puppet = launch(container)
    last = write_steadily(container, puppet)
    assert is_logged_at_once(container, puppet, ERR, b"other\n")
    log = finish(container, puppet)
    assert [record.data for record in records(log)][-2:] == [b"%d." % last, b"other"]


def test_streams_by_turns_do_not_wait(container: Container) -> None:
    """E4: a container that writes to both streams has its lines logged in their order."""
    puppet = launch(container)
    for number, stream in zip(range(30), (OUT, ERR) * 15, strict=True):
        assert is_logged_at_once(container, puppet, stream, b"%d.\n" % number)
    finish(container, puppet)


def test_client_does_not_wait(container: Container) -> None:
    """E4, C12.3: a client that comes gets each line at once."""
    puppet = launch(container)
    write_steadily(container, puppet)
    client = container.attach()
    for number in range(30):
        assert is_logged_at_once(container, puppet, OUT, b"%d for the client\n" % number)
    client.read_until(b"29 for the client\n")
    client.close()
    finish(container, puppet)


def test_no_latency(container: Container) -> None:
    """E4: with --log-latency 0 each line is logged at once."""
    puppet = launch(container, "0")
    for number in range(30):
        assert is_logged_at_once(container, puppet, OUT, b"%d.\n" % number)
    finish(container, puppet)


def test_full_pipe(container: Container) -> None:
    """E4: after a pipe that was full, lines are whole, and none is lost."""
    puppet = launch(container)
    last = write_steadily(container, puppet)
    data = b"".join(b"%d.\n" % number for number in range(last + 1, last + 20_000))
    while data:
        data = data[puppet.write(OUT, data[:65536]) :]
        next_request(container)
    log = finish(container, puppet)
    assert lines(log) == [b"%d.\n" % number for number in range(last + 20_000)]


def test_small_lines_between_large_ones(container: Container) -> None:
    """E4: a stream that may fill its pipe is not left alone, however little came last.

    Measured by what conmon does meanwhile: some requests, where it would be thousands.
    """
    puppet = launch(container)
    large = b"x" * 59_999 + b"\n"
    requests = 0
    for number in range(1, 21):
        puppet.write(OUT, b"small\n")
        next_request(container)
        assert puppet.write(OUT, large) == len(large)
        while container.log.read_bytes().count(b"x") < number * large.count(b"x"):
            next_request(container)
            requests += 1
            assert requests < TRIES
    finish(container, puppet)


def test_log_that_takes_no_more(container: Container) -> None:
    """E4, C21.4: what waits for a log that stands still is logged when it takes more."""
    os.mkfifo(container.log)
    reader = FifoReader(container.log)
    puppet = launch(container)
    written: list[bytes] = []
    for _ in range(TRIES):
        # as a whole or not at all, for the pipe may be full: PIPE_BUF
        line = b"%d %s\n" % (len(written), b"x" * 4000)
        if puppet.write(OUT, line):
            written.append(line)
        next_request(container)
        if read_counters(container)["log_stalls"]:
            break
    else:
        pytest.fail("a log that nobody reads has taken everything")
    puppet.quit(7)
    puppet.close()
    assert container.end() == 7
    assert lines(reader.read_all()) == written
    reader.close()
