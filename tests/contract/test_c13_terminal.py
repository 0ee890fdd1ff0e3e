"""C13: the console socket and the container's terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import time
from pathlib import Path

import pytest
from harness import Container
from harness_counters import wait_counters
from harness_exec import AttachPipe, as_podman_exec
from harness_log import records, written
from harness_os import Process
from harness_proc import context_switches, settled
from harness_terminal import control, size, terminal_name, wait_size, with_terminal

FLOOD = b"".join(b"line %09d\n" % i for i in range(100_000))  # 1.5 MB


def sockets(directory: Path) -> list[Path]:
    """The console sockets in a directory."""
    return list(directory.glob("conmon-term.*"))


def on_terminal(data: bytes) -> bytes:
    """What a terminal makes of newlines."""
    return data.replace(b"\n", b"\r\n")


def test_console_socket(container: Container) -> None:
    """C7, C13: a socket conmon-term.XXXXXX in $TMPDIR, mode 0700; gone when it was used."""
    with_terminal(container, "tty; read -r _ <go; exit 4")
    container.fifo("go")
    container.fifo("hang")
    container.launch()
    # opens once the runtime reads, so after conmon has made the socket
    with open(container.bundle / "hang", "w") as runtime:
        (path,) = sockets(container.root / "tmp")
        about = path.stat()
        assert stat.S_ISSOCK(about.st_mode)
        assert stat.S_IMODE(about.st_mode) == 0o700
        assert len(path.name) == len("conmon-term.XXXXXX")
        runtime.write("\n")
    pid = container.started()
    assert not sockets(container.root / "tmp")
    name = terminal_name(container)
    container.wait_log(name.encode())
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == [name] * 3
    container.open_fifo(container.bundle / "go")
    assert container.end() == 4


@pytest.mark.parametrize("kind", ["unset", pytest.param(
    "too long", marks=pytest.mark.ours("it cuts the path of the socket")
)])  # fmt: skip
def test_temporary_directory(container: Container, kind: str) -> None:
    """C13: without $TMPDIR the socket is in /tmp; also where a socket cannot be named in it."""
    with_terminal(container, "exit 4")
    if kind == "unset":
        container.launch(without=("TMPDIR",))
    else:
        directory = container.root / "tmp" / ("d" * 100)
        directory.mkdir()
        container.launch(environment={"TMPDIR": str(directory)})
    container.started()
    assert container.end() == 4


@pytest.mark.ours("it takes one byte less")
def test_longest_temporary_directory(container: Container) -> None:
    """C13: every $TMPDIR that fits into a socket address is used: 88 bytes."""
    missing = 88 - len(str(container.root)) - 1
    directory = container.root / ("d" * missing)
    directory.mkdir()
    with_terminal(container, "exit 4")
    container.fifo("hang")
    container.launch(environment={"TMPDIR": str(directory)})
    with open(container.bundle / "hang", "w") as runtime:
        assert len(sockets(directory)) == 1
        runtime.write("\n")
    container.started()
    assert container.end() == 4


def test_newlines(container: Container) -> None:
    """C13: the terminal turns newlines into CR LF, even if the runtime had made it otherwise."""
    with_terminal(container, "printf 'a\\nb\\n'")
    container.put("plain", "")
    container.fifo("start")
    container.launch()
    container.started()
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0
    assert written(container.log.read_bytes()) == b"a\r\nb\r\n"


def test_one_stream(container: Container) -> None:
    """C8.3, C12.3: stdout and stderr of a terminal are one stream: stdout in log and packets."""
    with_terminal(container, "echo out; echo err >&2")
    container.fifo("start")
    container.launch()
    container.started()
    client = container.attach()
    container.open_fifo(container.bundle / "start")
    assert client.read_all() == b"out\r\nerr\r\n"
    assert client.stream(3) == b""
    assert container.end() == 0
    assert {record.stream for record in records(container.log.read_bytes())} == {"stdout"}


def test_input(container: Container) -> None:
    """C12.4: what clients send is typed at the terminal, and comes back as its echo."""
    with_terminal(container, "read -r line; echo got $line")
    container.launch()
    container.started()
    client = container.attach()
    client.send(b"words\r")
    client.read_until(b"words\r\ngot words\r\n")
    assert container.end() == 0


def test_input_of_two_clients_one_after_the_other(container: Container) -> None:
    """C12.5: a client that leaves does not take the terminal's input with it."""
    with_terminal(container, "read -r a; echo got $a; read -r b; echo got $b")
    container.launch()
    container.started()
    for word in (b"one", b"two"):
        client = container.attach()
        client.send(word + b"\r")
        client.read_until(b"got " + word)
        client.close()
    assert container.end() == 0


def test_control_c(container: Container) -> None:
    """C12.4: it is the controlling terminal: what is typed may be a signal."""
    with_terminal(container, "trap 'exit 42' INT; echo ready; while :; do sleep 0.02; done")
    container.launch()
    container.started()
    container.wait_log(b"ready")
    client = container.attach()
    client.send(b"\x03")
    assert container.end() == 42


def test_resize_before_the_terminal(container: Container) -> None:
    """C13: podman sets the size as soon as ctl is there; it waits until there is a terminal."""
    with_terminal(container)
    container.command("stty size; exit 0")
    container.fifo("hang")
    container.fifo("start")
    container.launch()
    with open(container.bundle / "hang", "w") as runtime:
        control(container, b"1 33 77\n")
        runtime.write("\n")
    container.started()
    wait_size(container, 33, 77)
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0
    assert written(container.log.read_bytes()) == b"33 77\r\n"


def test_resize_is_signalled(container: Container) -> None:
    """C13: a resize gives the container's processes SIGWINCH, and the pixels are 0."""
    script = (
        "import os, fcntl, signal, struct, termios; "
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH}); "
        "print('ready', flush=True); signal.sigwait({signal.SIGWINCH}); "
        "print(struct.unpack('HHHH', fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))))"
    )
    with_terminal(container, f'exec {sys.executable} -ISE -c "{script}"')
    container.launch()
    container.started()
    container.wait_log(b"ready")
    control(container, b"1 50 100\n")
    container.wait_log(b"(50, 100, ")
    assert container.end() == 0
    if not container.peer:
        assert b"(50, 100, 0, 0)" in container.log.read_bytes()


def test_output_just_before_the_end(container: Container) -> None:
    """C17.2: everything that was written to the terminal before the end is in the log."""
    container.put("data", FLOOD)
    with_terminal(container, "cat data; printf last; exit 3")
    container.launch()
    container.started()
    assert container.end() == 3
    assert written(container.log.read_bytes()) == on_terminal(FLOOD) + b"last"


def test_output_of_many_short_lives(container: Container) -> None:
    """C17.2: the same of a process that writes a little and ends at once; 10 times as an exec."""
    as_podman_exec(container)
    container.options["-l"] = f"k8s-file:{container.log}"
    with_terminal(container, "echo short; exit 3")
    for _ in range(10):
        for path in (container.exit_file, container.persist_exit, container.log):
            path.unlink(missing_ok=True)
        container.launch("--sync")
        container.started()
        assert container.report() == {"data": 3}
        assert container.parent_status() == 3
        assert written(container.log.read_bytes()) == b"short\r\n"
        container.close_sync()
        container.close_start()


REOPEN = """
name=$(tty); echo first; exec 0<&- 1>&- 2>&-
read -r _ <go; echo second >$name
read -r _ <go; cat data >$name
read -r _ <go; exit 9
"""


def test_terminal_that_is_closed_and_opened_again(container: Container) -> None:
    """C13, C20.15: a terminal that nobody has open is waited for, not polled; nothing is lost."""
    container.put("data", FLOOD)
    container.fifo("go")
    with_terminal(container, REOPEN)
    container.launch()
    container.started()
    container.wait_log(b"first")
    if not container.peer:  # it looks 10 times a second (C20.15)
        before = settled(container.monitor.pid)
        time.sleep(1)  # the measurement: nothing may happen in it
        assert context_switches(container.monitor.pid) == before
    container.open_fifo(container.bundle / "go")
    container.wait_log(b"second")
    if not container.peer:
        before = settled(container.monitor.pid)
        time.sleep(0.3)  # the measurement: nothing may happen in it
        assert context_switches(container.monitor.pid) == before
    container.open_fifo(container.bundle / "go")
    if container.peer:
        container.wait_log(b"99999")
    else:
        size = len(on_terminal(b"first\nsecond\n" + FLOOD))
        wait_counters(container, lambda counters: counters["bytes_in"] == size)
    container.open_fifo(container.bundle / "go")
    assert container.end() == 9
    assert written(container.log.read_bytes()) == on_terminal(b"first\nsecond\n" + FLOOD)


def test_terminal_opened_and_closed_often(container: Container) -> None:
    """C13: 500 short openings, one after the other: every one is heard."""
    loop = "name=$(tty); exec 0<&- 1>&- 2>&-; for i in $(seq 500); do echo n$i >$name; done"
    with_terminal(container, loop)
    container.launch()
    container.started()
    assert container.end() == 0
    expected = b"".join(b"n%d\r\n" % i for i in range(1, 501))
    assert written(container.log.read_bytes()) == expected


def test_hung_up_terminal_takes_input_again(container: Container) -> None:
    """C13, C12: clients stay while nobody has the terminal open, and are heard after that."""
    container.fifo("go")
    container.record()
    with_terminal(
        container,
        "name=$(tty); exec 0<&- 1>&- 2>&-; : >seen/closed; read -r _ <go; "
        "read -r line <$name; echo got $line >$name; exit 2",
    )
    container.launch()
    container.started()
    client = container.attach()
    container.wait_name(container.seen / "closed")
    settled(container.monitor.pid)
    container.open_fifo(container.bundle / "go")
    client.send(b"again\r")
    client.read_until(b"got again\r\n")
    assert container.end() == 2


def test_other_holder_of_the_terminal(container: Container) -> None:
    """C17: the container's end is the end, though somebody else has its terminal open."""
    with_terminal(container, "echo x; exit 7")
    container.fifo("start")
    container.launch()
    container.started()
    fd = os.open(terminal_name(container), os.O_RDWR | os.O_NOCTTY)
    container.open_fifo(container.bundle / "start")
    assert container.end() == 7
    os.close(fd)


def test_output_while_the_runtime_runs(container: Container) -> None:
    """C12.7: what comes through the terminal before the runtime has ended is kept for a client."""
    as_podman_exec(container)
    with_terminal(container, "echo early; : >written; exit 5")
    container.allow("bundle/written")
    container.fifo("late")
    pipe = AttachPipe(container)
    pipe.launch(container)
    assert pipe.message() == b'{"data": 0}\n'
    client = container.attach(accepted=False)
    control(container, b"1 11 22\n")
    container.go()
    container.wait_name(container.bundle / "written")
    container.open_fifo(container.bundle / "late")
    container.started()
    assert client.read_all() == b"early\r\n"
    assert container.end() == 5


HANGS = pytest.mark.ours("it fails later, or waits for ever")
NO_TERMINAL = "Runtime did not set up terminal"


@pytest.mark.parametrize(
    ("how", "fails", "message"),
    [
        ("none", True, "boom"),
        pytest.param("connect", True, "boom", marks=HANGS),
        ("one", True, "boom"),
        pytest.param("none", False, NO_TERMINAL, marks=HANGS),
        pytest.param("connect", False, NO_TERMINAL, marks=HANGS),
    ],
)
def test_failure(container: Container, how: str, fails: bool, message: str) -> None:
    """C4.19, C4.20, C20.17: what went wrong is reported; no console socket is left behind.

    `how` far the runtime gets with the terminal before it `fails`, or ends without a word.
    """
    with_terminal(container)
    container.put("terminal", how)
    if fails:
        container.put("stderr", "boom")
        container.put("status", "1")
    container.launch()
    assert container.report() == {"data": -1, "message": message}
    assert container.message() == b""
    assert container.nothing_runs()
    container.peer_leaves("bundle/attach")
    if not container.peer:
        assert not list((container.root / "tmp").iterdir())
    container.allow(*(f"tmp/{path.name}" for path in sockets(container.root / "tmp")))


@pytest.mark.ours("it is not told")
@pytest.mark.parametrize("case", ["two", "text", "connect", "none"])
def test_terminal_that_does_not_come(container: Container, case: str) -> None:
    """C4.20, C13: exactly one fd must come; the container that runs without is not kept.

    The exit command is due: the runtime was started.
    """
    with_terminal(container, "exec sleep 1000")
    container.put("terminal", case)
    after = container.exit_command()
    container.launch()
    report = container.report()
    assert report["data"] == -1
    assert report["message"]
    container.wait_name(after / "recorded")
    container.monitor.wait()
    assert container.monitor.wait() == 1
    with contextlib.suppress(ProcessLookupError):  # it may have died of the loss of its terminal
        process = Process(int(container.pidfile.read_bytes()))
        process.signal(signal.SIGKILL)
        process.wait()
        process.close()
    assert not list((container.root / "tmp").iterdir())


def test_exec_runtime_failed(container: Container) -> None:
    """C6.3, C13: a session's runtime that fails before there is a terminal: its own words."""
    as_podman_exec(container)
    with_terminal(container)
    container.put("terminal", "none")
    container.put("stderr", "exec failed: no such file")
    container.put("status", "1")
    container.launch()
    assert container.report() == {"data": -1, "message": "exec failed: no such file"}
    assert container.message() == b""
    assert container.nothing_runs()
    container.peer_leaves("bundle/attach")
    if container.peer:
        container.allow(*(f"tmp/{path.name}" for path in sockets(container.root / "tmp")))


@pytest.mark.ours("older versions report nothing when there is no stderr")
def test_killed_while_the_runtime_hangs(container: Container) -> None:
    """C16: a signal goes to the runtime while there is no container; its failure is reported."""
    with_terminal(container)
    container.fifo("hang")
    container.launch()
    with open(container.bundle / "hang", "w"):
        container.monitor.signal(signal.SIGTERM)
        report = container.report()
    assert report["data"] == -1
    assert container.message() == b""
    assert container.nothing_runs()


def test_size_of_a_terminal_without_resize(container: Container) -> None:
    """C13: conmon sets no size of its own."""
    with_terminal(container, "exit 0")
    container.fifo("start")
    container.launch()
    container.started()
    assert size(container) == (0, 0)
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0
