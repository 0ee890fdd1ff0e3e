"""C21.8: what can fail is done before the container runs; what fails later loses nothing."""

from __future__ import annotations

import os
import signal

import pytest
from harness import Container
from harness_log import lines, written
from harness_os import Process
from harness_rooms import STANDIN
from harness_terminal import control, wait_size, with_terminal

REFUSE = str(STANDIN / "refuse")
#: As for everybody whose user has no fs.epoll.max_user_watches left.
NO_EPOLL = [REFUSE, "epoll_ctl", "ENOSPC"]


def test_end_without_epoll(container: Container) -> None:
    """C21.8: where epoll takes no fd, output is logged and the exit code saved all the same."""
    container.command("echo out; echo err >&2; exit 3")
    assert container.run(wrapper=NO_EPOLL) == 3
    log = container.log.read_bytes()
    assert (written(log), written(log, "stderr")) == (b"out\n", b"err\n")


def test_much_output_without_epoll(container: Container) -> None:
    """C21.8: nor does the container stand still with more output than a pipe holds."""
    container.put("data", b"line\n" * 100_000)
    container.command("cat data; cat data >&2; exit 4")
    assert container.run(wrapper=NO_EPOLL) == 4
    log = container.log.read_bytes()
    assert len(lines(log)) == len(lines(log, "stderr")) == 100_000


def test_client_and_stdin_without_epoll(container: Container) -> None:
    """C21.8: clients come, send input and get output, and its end, by poll as well."""
    container.options["-i"] = None
    container.command("cat; exit 5")
    container.launch(wrapper=NO_EPOLL)
    container.started()
    client = container.attach()
    client.send(b"to and fro\n")
    client.read_until(b"to and fro\n")
    client.end_input()
    assert client.read_all() == b"to and fro\n"
    assert container.end() == 5


def test_signal_and_timeout_without_epoll(container: Container) -> None:
    """C21.8, C16: a signal is passed on, and --timeout kills who ignores it."""
    container.command("trap 'echo got it' TERM; echo ready; while :; do sleep 1000 & wait; done")
    container.launch("--timeout", "3", wrapper=NO_EPOLL)
    container.started()
    container.wait_log(b"ready")
    os.kill(container.monitor.pid, signal.SIGTERM)
    container.wait_log(b"got it")
    assert container.end() == -1


def test_terminal_without_epoll(container: Container) -> None:
    """C21.8, C13: a terminal is resized and read, also after nobody had it open for a while."""
    with_terminal(container, "exec <&- >&- 2>&-; read -r _ <go; echo again >$(cat tty); exit 6")
    container.fifo("go")
    container.launch(wrapper=NO_EPOLL)
    container.started()
    control(container, b"1 20 30\n")
    wait_size(container, 20, 30)
    container.open_fifo(container.bundle / "go")
    assert container.end() == 6
    assert lines(container.log.read_bytes()) == [b"again\r\n"]


@pytest.mark.parametrize("call", ["epoll_create1", "signalfd4"])
def test_refused_before_the_start(container: Container, call: str) -> None:
    """C21.8: what the monitor cannot do without is there before the container runs, or none runs.

    The caller gets the reason.
    """
    container.record()
    container.command("exit 0")
    container.launch(wrapper=[REFUSE, call, "EMFILE"])
    report = container.report()
    assert report["data"] == -1
    assert "Too many open files" in str(report["message"])
    assert container.message() == b""
    assert container.nothing_runs()
    assert not (container.seen / "runtime.argv").exists()


SPLICE = """\
import fcntl, os, socket
ours, theirs = socket.socketpair()
os.set_blocking(1, False)
fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
piece, total = b"x" * 32767 + b"\\n", 0
while True:
    theirs.sendall(piece)
    try:
        while (left := len(piece) - total % len(piece)):
            total += os.splice(ours.fileno(), 1, left)
            if total % len(piece) == 0:
                break
    except BlockingIOError:
        break
open("total", "w").write(str(total))
"""


def test_pipe_that_holds_more_than_its_size(container: Container) -> None:
    """C21.6: what splice(2) has put into the pipe is logged to the last byte.

    It holds far more than F_GETPIPE_SZ says: slots with more than a page.
    """
    container.put("fill.py", SPLICE)
    container.allow("bundle/total")
    container.command("read -r _ <go; python3 fill.py; exit 7")
    container.fifo("go")
    container.launch()
    process = Process(container.started())
    container.on_close(process.close)
    monitor = container.monitor
    os.kill(monitor.pid, signal.SIGSTOP)
    container.open_fifo(container.bundle / "go")
    total = int(container.wait_file(container.bundle / "total"))
    process.wait_gone()
    os.kill(monitor.pid, signal.SIGCONT)
    assert container.end() == 7
    assert total > 2 << 20
    assert len(written(container.log.read_bytes())) == total
