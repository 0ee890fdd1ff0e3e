"""conmonctl with podman's containers, on the host, beside podman and inside its namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from real_podman.bed import IMAGE, Bed
from real_podman.client import Podman
from real_podman.user import TestUser
from real_podman.wait import until

from .person import Person
from .tool import Tool, read_lines

COMMANDS = ("podman", "crun", "busybox", "nsenter", "unshare", "setpriv", "useradd")
# A client that leaves ends the input: the container is to outlive that.
#: Longer than a busy machine keeps conmonctl from running: seconds that containers are held.
HOLD = "60"
SAY = "while read -r line; do echo $line; echo problem $line >&2; done; exec sleep 1000"


@pytest.fixture(scope="module")
def user() -> Iterator[TestUser]:
    """An ordinary user. It goes after the bed, in which its processes are."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if missing:
        reason = f"podman's tests need {', '.join(missing)} (make deps)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    user = TestUser()
    yield user
    user.close()


@pytest.fixture(scope="module")
def podman(conmon_path: Path, user: TestUser) -> Iterator[Podman]:
    """podman with crun as root, in namespaces of its own; nothing outlives the tests."""
    bed = Bed(conmon_path)
    try:
        yield Podman(bed, "crun", None)
    finally:
        bed.close()


@pytest.fixture(scope="module")
def prefix() -> str:
    """Begins the names of this run's containers: conmonctl sees the whole machine."""
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def speaker(podman: Podman, prefix: str) -> Iterator[str]:
    """A container that says what it reads."""
    name = podman.run_detached("-i", IMAGE, "sh", "-c", SAY, name=f"{prefix}-speaker")
    yield name
    podman("rm", "--force", "--time", "0", name)


@pytest.fixture(scope="module")
def shell(podman: Podman, prefix: str) -> Iterator[str]:
    """A shell on a terminal."""
    name = podman.run_detached("-it", IMAGE, "sh", name=f"{prefix}-shell")
    yield name
    podman("rm", "--force", "--time", "0", name)


def inside(podman: Podman, conmonctl: Tool, *args: str) -> list[dict[str, Any]]:
    """conmonctl in podman's namespaces: what it prints as JSON."""
    command = [*podman.bed.enter(Path("/")), str(conmonctl.path), *args]
    done = subprocess.run(
        command, env=conmonctl.environment(), capture_output=True, timeout=60, check=True
    )
    return Tool.parse(done.stdout)


def test_ps(podman: Podman, conmonctl: Tool, speaker: str) -> None:
    """ps knows the container as podman does; pids are those of where it is called."""
    about = podman.inspect(speaker)
    (here,) = conmonctl("ps", "--json", speaker).objects
    (there,) = inside(podman, conmonctl, "ps", "--json", speaker)
    assert here["id"] == there["id"] == about["Id"]
    assert there["pid"] == about["State"]["Pid"]
    assert there["monitor_pid"] == about["State"]["ConmonPid"]
    assert os.readlink(f"/proc/{here['pid']}/exe").endswith("/bin/busybox")
    assert here["pid"] != there["pid"]
    assert here["runtime"] == about["OCIRuntime"] or here["runtime"].endswith("/crun")
    assert here["private_dirty_bytes"] == there["private_dirty_bytes"] > 0
    assert here["log_drivers"] == [about["HostConfig"]["LogConfig"]["Type"]]


def test_logs_and_stats(podman: Podman, conmonctl: Tool, speaker: str) -> None:
    """logs says what podman logs says; -f goes on with what is said by attach; stats counts it."""
    with conmonctl.start("logs", "-f", speaker) as process:
        with conmonctl.start("attach", speaker, stdin=subprocess.PIPE) as client:
            assert client.stdin is not None
            client.stdin.write(b"hello\n")
            assert read_lines(client, 1) == [b"hello\n"]
            assert read_lines(process, 1) == [b"hello\n"]
            client.terminate()
            client.wait(timeout=30)
        process.terminate()
        process.wait(timeout=30)
    said = podman("logs", speaker)
    printed = conmonctl("logs", speaker)
    assert (printed.out.encode(), printed.err.encode()) == (said.out, said.err)
    (line,) = conmonctl("stats", "--json", speaker).objects
    assert line["counters"]["bytes_in"] == len(said.out) + len(said.err)
    assert line["counters"]["clients"] == 1


def test_attach_and_resize(podman: Podman, conmonctl: Tool, shell: str) -> None:
    """A shell on podman's terminal: its size follows ours, then what resize says; keys detach."""
    command = [str(conmonctl.path), "attach", shell]
    with Person(command, conmonctl.environment(), rows=31, columns=97) as person:
        person.type(b"stty size\n")
        person.read_until(b"31 97\r\n")
        person.resize(40, 120)
        person.type(b"while [ \"$(stty size)\" != '40 120' ]; do :; done; echo re''sized\n")
        person.read_until(b"resized\r\n")
        conmonctl("resize", shell, "--rows", "7", "--columns", "77")
        person.type(b"while [ \"$(stty size)\" != '7 77' ]; do :; done; echo ag''ain\n")
        person.read_until(b"again\r\n")
        person.type(b"\x10\x11")
        assert person.end() == 0
        assert person.settings() == person.before
    assert podman.inspect(shell)["State"]["Running"] is True


def test_reopen(podman: Podman, conmonctl: Tool, speaker: str) -> None:
    """reopen makes a new log where podman's was moved away."""
    path = podman.log_path(speaker)
    path.rename(path.with_name("moved"))
    conmonctl("reopen", speaker)
    assert path.exists()


def test_rootless(podman: Podman, conmonctl: Tool, prefix: str, user: TestUser) -> None:
    """A user's container, in a user and a mount namespace of its own, is looked at just so."""
    rootless = Podman(podman.bed, "crun", user)
    name = rootless.run_detached("-i", IMAGE, "sh", "-c", SAY, name=f"{prefix}-rootless")
    with conmonctl.start("attach", name, stdin=subprocess.PIPE) as client:
        assert client.stdin is not None
        client.stdin.write(b"hello\n")
        assert read_lines(client, 1) == [b"hello\n"]
    (row,) = conmonctl("ps", "--json", name).objects
    assert row["monitor_uid"] == user.uid
    assert row["bytes"] > 0 and row["private_dirty_bytes"] > 0
    assert os.readlink(f"/proc/{row['pid']}/exe").endswith("/bin/busybox")
    assert conmonctl("logs", "--stream", "stdout", name).out == "hello\n"
    conmonctl("reopen", name)
    assert row["pid"] in [one["pid"] for one in conmonctl("tree", "--json", name).objects]
    rootless("rm", "--force", "--time", "0", name)


def processes(rows: list[dict[str, Any]]) -> set[tuple[int, str]]:
    """What a tree tells: pid in the namespace, and command line."""
    return {(row["nspid"], " ".join(row["argv"])) for row in rows}


def listed(podman: Podman, host_pid: int) -> set[tuple[int, str]]:
    """What ps says in the PID namespace of a process, itself apart."""
    script = "exec ps -o pid,args"
    command = ["nsenter", "--target", str(host_pid), "--pid", "--mount", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    rows = [line.split(None, 1) for line in done.stdout.splitlines()[1:]]
    return {(int(pid), words.strip()) for pid, words in rows if "ps -o pid,args" not in words}


@pytest.mark.parametrize("share", ["ipc", "pid"])
def test_tree_of_a_pod(podman: Podman, conmonctl: Tool, prefix: str, share: str) -> None:
    """tree of a pod with exec sessions is what ps in its namespaces says.

    With a PID namespace for each container, and with one that all of them share.
    """
    pod = f"{prefix}-pod-{share}"
    infra = f"{pod}-infra"
    options = ("--infra-image", IMAGE, "--infra-command", "sleep 1000", "--infra-name", infra)
    podman("pod", "create", "--share", share, *options, pod)
    try:
        names = [infra]
        for number, script in enumerate(("sleep 1001 & sleep 1002", "(sleep 1003; :) & wait")):
            command = ("--pod", pod, IMAGE, "sh", "-c", script)
            names.append(podman.run_detached(*command, name=f"{pod}-{number}"))
            podman("exec", "-d", names[-1], "sh", "-c", f"sleep 20{number} & sleep 21{number}")

        def tree(*names: str) -> list[dict[str, Any]]:
            return conmonctl("tree", "--json", *names).objects

        # Started in the background by podman and by shells: until all of them sleep.
        until(lambda: sum("sleep" in row["argv"][0] for row in tree(*names)) == 8, "8 sleepers")
        rows = tree(*names)
        assert {row["name"] for row in rows} == set(names)
        by_name = {name: [row for row in rows if row["name"] == name] for name in names}
        for name, mine in by_name.items():
            init = next(row for row in mine if row["depth"] == 0 and not row["exec"])
            expected = processes(rows if share == "pid" else mine)
            assert listed(podman, init["pid"]) == expected
            assert sum(row["exec"] for row in mine) == (name != infra)
            below = {row["pid"]: row for row in mine}
            for row in mine:
                if row["depth"]:
                    assert below[row["ppid"]]["depth"] == row["depth"] - 1
    finally:
        podman("pod", "rm", "--force", "--time", "0", pod)


def test_events(podman: Podman, conmonctl: Tool, prefix: str) -> None:
    """events: held before the first program runs, its processes, and how it ended."""
    name = f"{prefix}-job"
    args = ("events", "--json", "--processes", "--hold", HOLD, "--container", name)
    with conmonctl.start(*args) as process:
        assert process.stdout is not None
        assert b'"sync"' in process.stdout.readline()
        command = ("run", "--rm", "-i", "--name", name, IMAGE, "sh", "-c", "read line; exit 5")
        with podman.start(*command) as running:
            assert running.stdin is not None
            # Arguments are those of processes that live.
            events = _until(process, lambda seen: bool(seen) and seen[-1]["type"] == "exec")
            running.stdin.write(b"go\n")
            assert running.wait(timeout=60) == 5
        # The first process's exit and the container's removal, in whichever order.
        init = events[1]["pid"]
        events += _until(
            process,
            lambda seen: (
                {"remove", "exit"}
                <= {e["type"] for e in seen if e["type"] != "exit" or e["pid"] == init}
            ),
        )
        process.terminate()
        assert process.wait(timeout=30) == -15
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["pre-create", "add"]
    assert events[1]["paused"] is True
    assert events[1]["name"] == name
    cid = events[1]["id"]
    executed = [event["argv"] for event in events if event["type"] == "exec"]
    assert executed == [["sh", "-c", "read line; exit 5"]]
    exits = {event["pid"]: event["code"] for event in events if event["type"] == "exit"}
    assert exits[events[1]["pid"]] == 5
    (removed,) = [event for event in events if event["type"] == "remove"]
    assert (removed["id"], removed["exit_status"]) == (cid, 5)


def test_events_that_nobody_reads(podman: Podman, conmonctl: Tool, prefix: str) -> None:
    """events: the first program is seen also where what was told before is not printed yet."""
    name = f"{prefix}-unread"
    args = ("events", "--json", "--processes", "--hold", HOLD, "--container", name)
    command = ("run", "--rm", "-i", "--name", name, IMAGE, "sh", "-c", "echo up; read l; exit 5")
    with conmonctl.start(*args) as process:
        assert process.stdout is not None
        assert b'"sync"' in process.stdout.readline()
        filled = _fill(process.stdout)
        with podman.start(*command) as running:
            assert running.stdin is not None and running.stdout is not None
            assert running.stdout.readline() == b"up\n"
            assert read_lines(process, filled) == [b"\n"] * filled
            events = _until(process, lambda seen: bool(seen) and seen[-1]["type"] == "exec")
            running.stdin.write(b"go\n")
            assert running.wait(timeout=60) == 5
        process.terminate()
        process.wait(timeout=30)
    assert [event["type"] for event in events] == ["pre-create", "add", "fork", "exec"]
    assert events[-1]["argv"] == ["sh", "-c", "echo up; read l; exit 5"]


def _fill(reader: IO[bytes]) -> int:
    """Fill a pipe with empty lines; how many. Its writer must be silent."""
    fd = os.open(f"/proc/self/fd/{reader.fileno()}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    filled = 0
    try:
        while True:
            filled += os.write(fd, b"\n" * 4096)
    except BlockingIOError:
        return filled
    finally:
        os.close(fd)


def _until(
    process: subprocess.Popen[bytes], enough: Callable[[list[dict[str, Any]]], bool]
) -> list[dict[str, Any]]:
    """The next events, up to the one with which they are enough."""
    events: list[dict[str, Any]] = []
    while not enough(events):
        (event,) = Tool.parse(b"".join(read_lines(process, 1)))
        events.append(event)
    return events


@pytest.mark.parametrize("words", [("events", "--processes"), ("tree",)])
def test_another_pid_namespace(podman: Podman, conmonctl: Tool, words: tuple[str, ...]) -> None:
    """In an inner PID namespace, where the kernel's pids mean others, processes are refused."""
    command = [*podman.bed.enter(Path("/")), str(conmonctl.path), *words]
    done = subprocess.run(
        command, env=conmonctl.environment(), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 5
    assert b"pid namespace" in done.stderr
