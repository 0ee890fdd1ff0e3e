"""conmonctl events, tree and supported, with containers of a stand-in runtime."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Container
from harness_os import Deadline

from .scenes import cid, finish, name, running
from .tmux import Screen
from .tool import Tool, read_lines

#: runs a command without any capability, though as the same user
POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def powerless(conmonctl: Tool, *args: str) -> subprocess.CompletedProcess[str]:
    """conmonctl without any privilege."""
    return subprocess.run(
        [*POWERLESS, str(conmonctl.path), *args],
        env=conmonctl.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_monitors_tell(conmonctl: Tool, container: Container) -> None:
    """events: a container that is there already is told of by its monitor, and so is its end."""
    pid = running(container)
    with conmonctl.start("events", "--json", "--container", name(container)) as process:
        (added,) = Tool.parse(b"".join(read_lines(process, 1)))
        assert (added["type"], added["id"], added["pid"]) == ("add", cid(container), pid)
        assert (added["name"], added["source"]) == (name(container), "monitor")
        assert added["monitor_pid"] == container.monitor.pid
        assert added["bundle"] == str(container.bundle)
        assert added["paused"] is False
        os.kill(pid, signal.SIGKILL)
        (removed,) = Tool.parse(b"".join(read_lines(process, 1)))
        assert (removed["type"], removed["id"], removed["pid"]) == ("remove", cid(container), pid)
        assert removed["name"] == name(container)
        assert (removed["exit_status"], removed["signal"]) in ((137, 9), (None, None))
        assert removed["mono_ns"] > added["mono_ns"]
    assert container.end() == 128 + signal.SIGKILL


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_containers_that_are_hidden(conmonctl: Tool, container: Container) -> None:
    """tree: a container that whoever asks may not look at is counted, with what would show it."""
    running(container)
    os.chown(container.pidfile, 1, 1)
    container.pidfile.chmod(0o600)
    done = powerless(conmonctl, "tree")
    assert done.returncode == 0
    assert cid(container)[:12] not in done.stdout
    assert f"left out: containers of uid {os.geteuid()} need that user, or root" in done.stderr
    finish(container)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hold containers")
def test_no_runtime_to_watch(conmonctl: Tool, tmp_path: Path) -> None:
    """events: where none of the runtimes is there, it says so, and which it looks for."""
    missing = str(tmp_path / "runtime")
    said = conmonctl("events", "--mode=hold", "--duration=0.1", RUNTIME_PATH=missing).err
    assert f"there is no runtime to watch yet: {missing}" in said
    Path(missing).write_bytes(b"")
    said = conmonctl("events", "--mode=hold", "--duration=0.1", RUNTIME_PATH=missing).err
    assert "no runtime" not in said


def test_lines(conmonctl: Tool, container: Container) -> None:
    """events in a pipe: time, type, container and what there is to say, a line for each."""
    pid = running(container)
    args = ("events", "--container", cid(container)[:20], "--type", "add", "--type", "remove")
    with conmonctl.start(*args) as process:
        words = read_lines(process, 1)[0].decode().split()
        assert words[0].endswith("+00:00")
        assert words[1:] == ["add", name(container), cid(container)[:12], "pid", str(pid)]
        finish(container)
        assert read_lines(process, 1)[0].decode().split()[1:4] == [
            "remove", name(container), cid(container)[:12],
        ]  # fmt: skip


def test_only_what_comes(conmonctl: Tool, container: Container) -> None:
    """events --no-initial: what was there is not told of, but its end is."""
    running(container)
    args = ("events", "--json", "--no-initial", "--container", cid(container))
    with conmonctl.start(*args) as process:
        finish_when_watched(container, process)
        (removed,) = Tool.parse(b"".join(read_lines(process, 1)))
        assert removed["type"] == "remove"


def finish_when_watched(container: Container, process: subprocess.Popen[bytes]) -> None:
    """Let a container end once its pid is watched by pidfd."""
    pid = int(container.pidfile.read_text())
    deadline = Deadline()
    while not any(f"Pid:\t{pid}\n" in text for text in pidfds(process.pid)):
        assert not deadline.passed(), "the container is not watched"
        time.sleep(0.01)
    finish(container)


def pidfds(pid: int) -> list[str]:
    """What /proc says of the fds of a process and its children."""
    found = []
    for row in [pid, *children(pid)]:
        for info in Path(f"/proc/{row}/fdinfo").glob("*"):
            with contextlib.suppress(OSError):
                found.append(info.read_text())
    return found


def children(pid: int) -> list[int]:
    """Pids of the children."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_duration(conmonctl: Tool) -> None:
    """events --duration ends by itself, well."""
    done = conmonctl("events", "--no-initial", "--duration", "0.1", "--container", "no-such")
    assert done.out == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(conmonctl: Tool, container: Container, number: signal.Signals) -> None:
    """events: a signal ends it at once, with its helper and without a word."""
    running(container)
    with conmonctl.start("events", "--processes", "--container", cid(container)) as process:
        read_lines(process, 1)
        process.send_signal(number)
        assert process.wait(timeout=30) == -number
        assert process.stderr is not None
        assert process.stderr.read() == b""
    finish(container)


def test_reader_that_goes(conmonctl: Tool, container: Container) -> None:
    """events ends when nobody reads any more, though nothing happens."""
    running(container)
    with conmonctl.start("events", "--container", cid(container)) as process:
        read_lines(process, 1)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.wait(timeout=30)
        assert process.stderr.read() == b""
    finish(container)


def test_processes(conmonctl: Tool, container: Container) -> None:
    """events --processes: what forks, executes and exits in a container, after what was there."""
    fifo = container.fifo("say")
    hold = container.fifo("hold")
    script = "(echo ready; while read -r line; do /usr/bin/head -n 1 $line; done <say) &"
    running(container, script)
    container.wait_log(b" ready\n")  # the subshell is there
    pid = int(container.pidfile.read_text())
    args = ("events", "--json", "--processes", "--container", cid(container))
    with conmonctl.start(*args) as process:
        initial: list[dict[str, Any]] = []
        while not initial or initial[-1]["type"] != "sync":
            initial += Tool.parse(b"".join(read_lines(process, 1)))
        there = [event for event in initial if event["type"] == "fork"]
        assert [event["pid"] for event in there][:1] == [pid]
        assert len(there) == 2
        container.open_fifo(fifo, b"hold\n")
        events = []
        for kind in ("fork", "exec", "exit"):
            if kind == "exit":  # not before: the arguments are those of a process that lives
                container.open_fifo(hold)
            events += Tool.parse(b"".join(read_lines(process, 1)))
            while events[-1]["type"] not in ("fork", "exec", "exit"):
                events[-1:] = Tool.parse(b"".join(read_lines(process, 1)))
            assert events[-1]["type"] == kind
        assert events[1]["argv"] == ["/usr/bin/head", "-n", "1", "hold"]
        assert len({event["pid"] for event in events}) == 1
        assert events[2]["code"] == 0
        assert all(event["name"] == name(container) for event in events)
    finish(container)


def test_tree(conmonctl: Tool, container: Container) -> None:
    """tree: processes below their parents, as text in a pipe and as JSON."""
    running(container, "echo ready; /bin/sleep 1001 & /bin/sh -c '/bin/sleep 1002; :' &")
    container.wait_log(b" ready\n")

    def sleepers() -> list[dict[str, Any]]:
        rows = conmonctl("tree", "--json", name(container)).objects
        return [row for row in rows if row["argv"][0] == "/bin/sleep"]

    deadline = Deadline()
    while len(found := sleepers()) < 2:  # polled: there is no event for the test
        assert not deadline.passed(), found
    assert {(row["argv"][1], row["depth"]) for row in found} == {("1001", 1), ("1002", 2)}
    lines = conmonctl("tree", name(container)).out.splitlines()
    assert lines[0] == f"{name(container)} {cid(container)[:12]}"
    assert lines[1].startswith(f"  {container.pidfile.read_text()} ")
    deep = next(row for row in found if row["depth"] == 2)
    assert f"      {deep['pid']} /bin/sleep 1002" in lines
    conmonctl("tree", "no-such-container", code=3)
    conmonctl("tree", "--follow", name(container), code=2)
    for row in found:
        os.kill(row["pid"], signal.SIGKILL)
    finish(container)


def test_tree_on_a_terminal(screen: Callable[..., Screen], container: Container) -> None:
    """tree -f: drawn, cut to the width, and as it is now; it ends with the container."""
    fifo = container.fifo("say")
    script = "while read -r x; do /bin/sleep $x; done <say & read -r _ <finish; kill $!"
    running(container, f"/bin/sh -c '{script}'; exit 0")
    terminal = screen(60)
    terminal.type(f"clear; conmonctl tree -f {name(container)}; echo [$?]")
    terminal.press("Enter")
    lines = terminal.wait_text("…")
    assert lines[0] == f"{name(container)}  {cid(container)[:12]}"
    container.open_fifo(fifo, b"1001\n")  # a number that no shell's own line shows
    lines = terminal.wait_text("/bin/sleep 1001")
    assert all(len(line) <= 60 for line in lines)
    (line,) = [line for line in lines if "1001" in line]
    pid = int(line.replace("│", " ").replace("└──", " ").replace("├──", " ").split()[0])
    os.kill(pid, signal.SIGTERM)
    terminal.wait(lambda lines: not any(f" {pid} " in line for line in lines), "end of sleep")
    finish(container)
    terminal.wait_text("[0]")


def test_supported(conmonctl: Tool, screen: Callable[..., Screen]) -> None:
    """supported: what was tried, as lines, as JSON, and on a terminal; the status sums it up."""
    done = subprocess.run(
        [conmonctl.path, "supported"],
        env=conmonctl.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    rows = conmonctl("supported", "--json", code=done.returncode).objects
    assert [line[:5].strip() for line in lines] == ["yes" if r["ok"] else "no" for r in rows]
    assert (done.returncode == 0) == all(row["ok"] for row in rows if row["required"])
    for columns in (50, 100):
        shown = screen(columns, 60).run("conmonctl supported")
        assert all(len(line) <= columns for line in shown)
        assert sum(line.startswith(("  yes  ", "  no   ")) for line in shown) == len(rows)


def test_without_privileges(conmonctl: Tool) -> None:
    """What is missing is named one by one with what grants it; a lesser mode works, and says so."""
    told = powerless(conmonctl, "supported")
    assert told.returncode == 1
    refused = [line for line in told.stdout.splitlines() if line.startswith("no ")]
    assert any("fanotify" in line and "CAP_SYS_ADMIN" in line for line in refused)
    assert any("memory of other" in line and "CAP_SYS_PTRACE" in line for line in refused)
    lesser = powerless(conmonctl, "events", "--duration", "0.1")
    assert lesser.returncode == 0
    assert "mode notify" in lesser.stderr
    assert "Nobody is held" in lesser.stderr
    denied = powerless(conmonctl, "events", "--mode", "hold")
    assert denied.returncode == 5
    assert "CAP_SYS_ADMIN" in denied.stderr
