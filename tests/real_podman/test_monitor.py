"""The monitor beside a container, as the system and podman see it."""

import os
import re
import stat
from pathlib import Path

import pytest

from .bed import IMAGE
from .client import Podman


@pytest.fixture
def sleeping(podman: Podman) -> str:
    """A detached container that does nothing."""
    return podman.run_detached(IMAGE, "sleep", "1000")


def test_pidfile_names_a_live_monitor(podman: Podman, sleeping: str) -> None:
    """C7: the conmon pidfile holds the monitor's pid, bare; it is called conmon, by its path."""
    info = podman.inspect(sleeping)
    # podman reads the file with Atoi, without trimming.
    content = Path(info["ConmonPidFile"]).read_bytes()
    assert content == b"%d" % info["State"]["ConmonPid"]
    proc = podman.bed.proc(int(content))
    assert (proc / "comm").read_text() == "conmon\n"
    words = (proc / "cmdline").read_bytes().split(b"\0")
    assert words[0] == str(podman.bed.conmon).encode()
    assert info["Id"].encode() in words


def test_monitor_is_the_parent_of_the_container(podman: Podman, sleeping: str) -> None:
    """C4.12: the container's first process is a child of the monitor, a session leader."""
    info = podman.inspect(sleeping)["State"]
    status = (podman.bed.proc(info["Pid"]) / "status").read_text()
    parent = re.search(r"^PPid:\t(\d+)$", status, re.MULTILINE)
    assert parent and int(parent[1]) == info["ConmonPid"]
    fields = (podman.bed.proc(info["ConmonPid"]) / "stat").read_text().rsplit(") ", 1)[1].split()
    session = int(fields[3])
    assert session == info["ConmonPid"]


def test_monitor_lets_go_of_its_callers_streams(podman: Podman, sleeping: str) -> None:
    """C4.11, D1: standard streams of the monitor are /dev/null."""
    fds = podman.bed.proc(podman.monitor(sleeping).pid) / "fd"
    assert [os.readlink(fds / str(fd)) for fd in range(3)] == ["/dev/null"] * 3


def test_files_of_a_running_container(podman: Podman, sleeping: str) -> None:
    """C7: the attach socket, and the fifos ctl and winsz, are in the bundle with their modes."""
    bundle = podman.bundle(sleeping)
    attach = (bundle / "attach").lstat()
    assert stat.S_ISSOCK(attach.st_mode) and stat.S_IMODE(attach.st_mode) == 0o700
    for name in ("ctl", "winsz"):
        fifo = (bundle / name).lstat()
        assert stat.S_ISFIFO(fifo.st_mode) and stat.S_IMODE(fifo.st_mode) == 0o640, name


def test_files_after_the_end(podman: Podman) -> None:
    """C7, C17.11: the attach socket is gone when the container has ended."""
    name = podman.sh("exit 37")
    assert podman.wait(name) == 37
    podman.wait_no_monitor()
    assert not (podman.bundle(name) / "attach").exists()


def test_no_monitor_after_the_end(podman: Podman) -> None:
    """C17: the monitor ends after the container, on its own."""
    name = podman.sh("exit 0")
    podman.wait(name)
    podman.wait_no_monitor()
    assert podman("ps", "--all", "--format", "{{.Names}}").text == name


def test_info_shows_the_version(podman: Podman) -> None:
    """C1.7, D1: podman info shows what conmon --version says, and the path it was given."""
    asked = podman.bed.run(str(podman.bed.conmon), "--version").decode()
    assert re.fullmatch(r"conmon version \d+\.\d+\.\d+(-\S+)?\ncommit: \S*\n", asked)
    shown = podman("info", "--format", "{{.Host.Conmon.Path}}\n{{.Host.Conmon.Version}}").text
    assert shown.splitlines() == [
        str(podman.bed.conmon),
        asked.rstrip("\n").replace("\n", ", "),
    ]


@pytest.mark.ours("its monitor keeps 330 kB of dirty memory")
def test_memory_of_an_idle_monitor(podman: Podman, sleeping: str) -> None:
    """E2: an idle monitor holds at most 100 kB of memory of its own."""
    rollup = (podman.bed.proc(podman.monitor(sleeping).pid) / "smaps_rollup").read_text()
    dirty = re.search(r"^Private_Dirty: +(\d+) kB$", rollup, re.MULTILINE)
    assert dirty and int(dirty[1]) <= 100


def test_idle_monitor_sleeps(podman: Podman, sleeping: str) -> None:
    """E1: a monitor whose container is silent is never scheduled."""

    def switches() -> int:
        status = (podman.bed.proc(monitor.pid) / "status").read_text()
        return sum(int(n) for n in re.findall(r"voluntary_ctxt_switches:\t(\d+)", status))

    monitor = podman.monitor(sleeping)
    # The first run lets the monitor finish its start; the second is the span observed.
    podman("run", "--rm", IMAGE, "true")
    before = switches()
    podman("run", "--rm", IMAGE, "true")
    assert switches() == before
