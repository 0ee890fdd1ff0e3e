"""conmonctl ps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Container
from harness_exec import as_podman_exec

from .scenes import cid, finish, name, running
from .tool import TOP, Tool


def test_what_it_tells(conmonctl: Tool, container: Container) -> None:
    """ps --json: pids, runtime, log driver, bytes, clients and memory are those of the monitor."""
    pid = running(container, "echo hello; echo error >&2")
    container.wait_log(b" hello\n")
    container.wait_log(b" error\n")
    client = container.attach()
    (row,) = conmonctl("ps", "--json", cid(container)).objects
    rollup = Path(f"/proc/{container.monitor.pid}/smaps_rollup").read_text()
    dirty = next(line for line in rollup.splitlines() if line.startswith("Private_Dirty:"))
    started = row.pop("started")
    assert 0 <= row.pop("uptime_s") < 600
    assert row == {
        "v": 1,
        "id": cid(container),
        "name": name(container),
        "session": None,
        "pid": pid,
        "monitor_pid": container.monitor.pid,
        "monitor_uid": os.geteuid(),
        "runtime": str(container.runtime),
        "terminal": False,
        "log_drivers": ["k8s-file"],
        "bytes": len("hello\nerror\n"),
        "dropped_bytes": 0,
        "clients": 1,
        "private_dirty_bytes": int(dirty.split()[1]) * 1024,
        "sandbox": ["nnp", "caps", "landlock", "seccomp"],
    }
    assert started.endswith("+00:00")
    client.close()
    finish(container)
    conmonctl("ps", cid(container), code=3)


def test_monitor_of_another_name(
    conmonctl: Tool, make: Callable[..., Container], conmon_path: Path, tmp_path: Path
) -> None:
    """ps: a monitor is known by what it was told, whatever its file is called."""
    other = tmp_path / "conmon-2.2.1"
    shutil.copy(conmon_path, other)
    container = make(other)
    pid = running(container)
    (row,) = conmonctl("ps", "--json", name(container)).objects
    assert (row["id"], row["pid"]) == (cid(container), pid)
    finish(container)


def test_what_is_no_monitor(conmonctl: Tool, container: Container) -> None:
    """ps: nor is it one that has a monitor's options, but nothing to watch over."""
    words = ["-c", cid(container), "-r", "/bin/true"]
    script = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script, *words], stdin=subprocess.PIPE):
        assert cid(container) not in conmonctl("ps", "--json").out


def test_c_conmon(conmonctl: Tool, make: Callable[..., Container], peer: Path) -> None:
    """ps: a C conmon's container is there; what only counters tell is null."""
    container = make(peer)
    pid = running(container)
    (row,) = conmonctl("ps", "--json", name(container)).objects
    assert (row["id"], row["pid"]) == (cid(container), pid)
    assert (row["bytes"], row["dropped_bytes"], row["clients"]) == (None, None, None)
    assert row["sandbox"] is None
    assert row["private_dirty_bytes"] > 0
    finish(container)


def test_exec_session(conmonctl: Tool, make: Callable[..., Container]) -> None:
    """ps: an exec session is CONTAINER/SESSION; its id names it, the container's does not."""
    container, session = make(), make()
    running(container)
    as_podman_exec(session)
    session.options |= {"-c": cid(container), "-n": name(container)}
    session.exit_file = session.exit_file.with_name(cid(container))
    session.fifo("finish")
    session.command("read -r _ <finish")
    session.launch()
    session.message()
    sid = str(session.options["-u"])
    rows = conmonctl("ps", "--json").objects
    mine = [row for row in rows if row["id"] == cid(container)]
    assert [row["session"] for row in mine] == [None, sid]
    for word in (sid, sid[:12], f"{name(container)}/{sid[:4]}"):
        (row,) = conmonctl("ps", "--json", word).objects
        assert row["session"] == sid
    rows = conmonctl("ps", "--json", cid(container)[:12]).objects
    assert [row["session"] for row in rows] == [None, sid]
    assert conmonctl("ps", "-q", name(container)).out == cid(container) + "\n"
    table = conmonctl("ps").out
    assert f"{name(container)}/{sid[:12]}" in table
    session.open_fifo(session.bundle / "finish")
    session.end()
    finish(container)


def test_table_in_a_pipe(conmonctl: Tool, container: Container) -> None:
    """ps in a pipe: one line per monitor, all columns, a word in each, nothing to obey."""
    pid = running(container)
    done = conmonctl("ps", name(container), COLUMNS="30", FORCE_COLOR="1")
    head, row = done.out.splitlines()
    assert head.split() == [
        "CONTAINER", "NAME", "PID", "MONITOR", "RUNTIME", "UP", "LOG", "BYTES", "DROPS",
        "CLIENTS", "MEMORY", "SANDBOX",
    ]  # fmt: skip
    cells = row.split()
    assert cells[:5] == [
        cid(container)[:12], name(container), str(pid), str(container.monitor.pid), "runtime",
    ]  # fmt: skip
    assert cells[6:10] == ["k8s-file", "0B", "0B", "0"]
    assert cells[11] == "all"
    assert "\x1b" not in done.out
    assert done.err == ""
    assert conmonctl("ps", "-q", name(container)).out == cid(container) + "\n"
    assert cid(container) in conmonctl("ps", "--no-trunc", name(container)).out
    finish(container)


def test_names_that_a_terminal_would_obey(conmonctl: Tool, container: Container) -> None:
    """ps: a name with escape sequences, or of no encoding, is shown and harms nobody."""
    container.options["-n"] = b"a\x1b[2J\xff" + cid(container).encode()
    running(container)
    table = conmonctl("ps", cid(container)).out
    assert f"a\\x1b[2J\\xff{cid(container)}" in table
    assert "\x1b" not in table
    (row,) = conmonctl("ps", "--json", cid(container)).objects
    assert row["name"] == f"a\x1b[2J\udcff{cid(container)}"
    finish(container)


def test_ambiguous(conmonctl: Tool, make: Callable[..., Container]) -> None:
    """A word that means two containers is exit status 4, and both are listed."""
    first, second = make(), make()
    second.options["-n"] = first.options["-n"]
    running(first)
    running(second)
    done = conmonctl("logs", name(first), code=4)
    assert done.out == ""
    assert cid(first) in done.err and cid(second) in done.err
    finish(first)
    finish(second)


def test_relative_paths(conmonctl: Tool, container: Container) -> None:
    """The monitor's relative paths are found from anywhere: bundle, pid file, log."""
    container.options |= {"-b": "bundle", "-p": "run/pidfile", "-l": "logs/ctr.log"}
    container.fifo("finish")
    container.command("echo hello; read -r _ <finish")
    container.launch(cwd=container.root)
    pid = container.started()
    container.wait_log(b" hello\n")
    (row,) = conmonctl("ps", "--json", cid(container)).objects
    assert row["pid"] == pid
    assert row["bytes"] == 6
    assert conmonctl("logs", cid(container)).out == "hello\n"
    conmonctl("reopen", cid(container))
    finish(container)


DROPPED = """
import os, sys
sys.argv = ["conmonctl", *sys.argv[1:]]
import conmon.ctl.__main__, conmon.ctl.commands.ps, conmon.ctl.commands.stats
import conmon.ctl.commands.logs
import conmon.ctl.app, rich.console, rich.table
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
conmon.ctl.__main__.main()
"""


def test_without_permission(conmonctl: Tool, container: Container) -> None:
    """Another user sees the monitors; what is missing, and what would grant it, is said."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    running(container)
    container.root.parent.chmod(0o755)

    def as_nobody(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-c", DROPPED, *args],
            env=conmonctl.environment(PYTHONPATH=str(TOP / "build" / "stage")),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    seen = as_nobody("ps", cid(container))
    assert seen.returncode == 0
    assert seen.stdout.splitlines()[1].split()[-1] == "-"
    assert "CAP_SYS_PTRACE" in seen.stderr
    refused = as_nobody("stats", cid(container))
    assert refused.returncode == 5
    assert "CAP_SYS_PTRACE" in refused.stderr
    container.log.chmod(0o600)
    refused = as_nobody("logs", cid(container))
    assert refused.returncode == 5
    assert "uid 0" in refused.stderr
    finish(container)
