"""C21.2: a terminal's first moment, and what is asked of it while the runtime still runs."""

from __future__ import annotations

import os
import sys

import pytest
from harness import Container
from harness_counters import wait_counters
from harness_exec import as_podman_exec
from harness_log import written
from harness_proc import open_fds
from harness_terminal import control, size, wait_size, wait_taken, with_terminal

pytestmark = pytest.mark.ours("older versions differ in details of the time before the report")

# A container process that says what size it was told of.
LISTENER = """exec {python} -ISE -c '
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGWINCH}})
open("ready", "w").write("x")
signal.sigwait({{signal.SIGWINCH}})
open("told", "w").write(str(os.get_terminal_size(0)))
open("go").readline()'"""


@pytest.fixture(params=["create", "exec"])
def held(request: pytest.FixtureRequest, container: Container) -> Container:
    """A container, or a session, whose runtime makes a terminal when it is let go on."""
    if request.param == "exec":
        as_podman_exec(container)
        container.options["-l"] = f"k8s-file:{container.log}"
    with_terminal(container, "exit 0")
    container.put("ask", "")
    container.put("plain", "")
    container.fifo("hang")
    container.allow("bundle/asked")
    return container


def asked(container: Container, *lines: tuple[str, bytes]) -> str:
    """Write lines to fifos, let the runtime make its terminal: what is found on it then.

    The container has ended afterwards.
    """
    container.launch()
    with open(container.bundle / "hang", "w") as runtime:
        for name, data in lines:
            control(container, data, name)
        runtime.write("\n")
    found = container.wait_file(container.bundle / "asked").decode()
    container.started()
    assert container.end() == 0
    return found


def test_newlines(held: Container) -> None:
    """C21.2, C13: newlines are turned into CR LF from the first moment, without any size."""
    assert asked(held) == "0 0 True"


def test_size(held: Container) -> None:
    """C21.2, C13: a size that was asked for before there was a terminal is there at once."""
    assert asked(held, ("ctl", b"1 33 77\n")) == "33 77 True"


def test_size_through_winsz(held: Container) -> None:
    """C21.2, C13: the same of the other fifo."""
    assert asked(held, ("winsz", b"34 78\n")) == "34 78 True"


def test_last_size_counts(held: Container) -> None:
    """C21.2: of several the last one, whatever nonsense comes in between and after."""
    lines = b"1 10 20\n1 33\n1 33 77\n7 1 1\n1 2000 5\n%s 1 2 3\n" % (b"1" * 300)
    assert asked(held, ("ctl", lines)) == "33 77 True"


def test_flood(held: Container) -> None:
    """C21.2: as many lines as a fifo holds."""
    lines = b"".join(b"1 %d 80\n" % (number % 1000) for number in range(5000)) + b"1 33 77\n"
    assert len(lines) < 65536
    assert asked(held, ("ctl", lines)) == "33 77 True"


def test_resize_while_the_runtime_runs(container: Container) -> None:
    """C21.2, C13: a resize is done at once, though the runtime has not ended yet."""
    with_terminal(container, LISTENER.format(python=sys.executable))
    container.allow("bundle/ready", "bundle/told")
    for name in ("late", "go"):
        container.fifo(name)
    container.launch()
    container.wait_file(container.bundle / "ready")
    control(container, b"1 44 88\n")
    told = container.wait_file(container.bundle / "told")
    assert told == b"os.terminal_size(columns=88, lines=44)"
    container.open_fifo(container.bundle / "late")
    container.started()
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


def test_settings_of_the_command_stay(container: Container) -> None:
    """C21.2, C13: what the command sets on its terminal is not undone when the runtime ends."""
    with_terminal(container, "stty -onlcr rows 5; echo x >done; read -r _ <go; stty -a >state")
    container.put("ask", "")  # the command is to come after conmon, not to race with it
    container.allow("bundle/done", "bundle/state", "bundle/asked")
    for name in ("late", "go", "hang"):
        container.fifo(name)
    container.launch()
    with open(container.bundle / "hang", "w") as runtime:
        control(container, b"1 33 77\n")
        runtime.write("\n")
    container.wait_file(container.bundle / "done")
    container.open_fifo(container.bundle / "late")
    container.started()
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0
    state = (container.bundle / "state").read_bytes()
    assert b" -onlcr" in state
    assert b"rows 5; columns 77;" in state


def test_reopen_is_kept(container: Container) -> None:
    """C21.2, C13: the log is reopened by the monitor, when that was asked for before it was."""
    with_terminal(container, "echo out; read -r _ <go; exit 3")
    for name in ("hang", "late", "start", "go"):
        container.fifo(name)
    container.launch()
    with open(container.bundle / "hang", "w") as runtime:
        control(container, b"2 0 0\n1 33 77\n2 0 0\n")
        wait_taken(container.bundle / "ctl")
        container.log.rename(container.root / "logs" / "old.log")
        container.allow("logs/old.log")
        runtime.write("\n")
    container.open_fifo(container.bundle / "late")
    container.started()
    container.wait_until((container.bundle / "conmon-counters").is_symlink, "the monitor life")
    wait_counters(container, lambda counters: counters["reopens"] == 1)
    container.open_fifo(container.bundle / "start")
    container.wait_log(b"out")
    assert size(container) == (33, 77)
    container.open_fifo(container.bundle / "go")
    assert container.end() == 3
    assert written(container.log.read_bytes()) == b"out\r\n"
    assert (container.root / "logs" / "old.log").read_bytes() == b""


@pytest.mark.parametrize("name", ["ctl", "winsz"])
def test_line_in_two_halves(container: Container, name: str) -> None:
    """C21.2, C13: half a line that came while the runtime ran is the beginning of its other half.

    A NUL before it ends the numbers of its own line only.
    """
    with_terminal(container, "read -r _ <go")
    for fifo in ("hang", "go"):
        container.fifo(fifo)
    container.launch()
    with open(container.bundle / "hang", "w") as runtime:
        control(container, b"\0 1 2 3\n" + (b"1 3" if name == "ctl" else b"3"), name)
        wait_taken(container.bundle / name)
        runtime.write("\n")
    container.started()
    assert size(container) == (0, 0)
    control(container, b"3 77\n", name)
    wait_size(container, 33, 77)
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


def test_more_than_one_fd(container: Container) -> None:
    """C21.2, C13: of a runtime that sends several none is held, not until its end."""
    with_terminal(container, "exit 0")
    container.put("terminal", "two")
    container.put("ask", "")
    container.allow("bundle/asked")
    container.fifo("late")
    container.launch()
    container.wait_file(container.bundle / "asked")
    terminals = [name for name in open_fds(container.monitor.pid).values() if "ptmx" in name]
    assert terminals == []
    container.open_fifo(container.bundle / "late")
    assert container.report()["data"] == -1
    assert container.monitor.wait() == 1
    assert os.listdir(container.root / "tmp") == []
