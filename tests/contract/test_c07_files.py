"""C7: files that conmon makes: names, modes, contents, and how they come to be there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from harness import Container
from harness_os import Event
from harness_rooms import CID


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_pid_and_exit_files_have_no_newline(container: Container) -> None:
    """C7, D3: clients convert the whole content of these files to a number."""
    container.command("exit 12")
    assert container.run() == 12
    assert container.exit_file.read_bytes() == b"12"
    assert container.persist_exit.read_bytes() == b"12"
    assert container.conmon_pidfile.read_bytes() == str(container.monitor.pid).encode()


@pytest.mark.parametrize(
    "umask",
    [0o022, pytest.param(0o077, marks=pytest.mark.ours("older versions keep the umask"))],
)
def test_modes(container: Container, umask: int) -> None:
    """C7: modes do not depend on the caller's umask."""
    container.fifo("start")
    container.command("exit 0")
    container.launch(umask=umask)
    container.started()
    assert container.parent_status() == 0
    for name in ("ctl", "winsz"):
        assert (container.bundle / name).is_fifo()
        assert mode(container.bundle / name) == 0o640
    assert (container.bundle / "attach").is_socket()
    assert mode(container.bundle / "attach") == 0o700
    assert mode(container.conmon_pidfile) == 0o644
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0
    assert mode(container.exit_file) == 0o644
    assert mode(container.persist_exit) == 0o644


@pytest.mark.ours("older versions make it with mode 0600")
def test_mode_of_the_log(container: Container) -> None:
    """C4.2, C7: the log is readable for the group, whatever the caller's umask."""
    container.command("echo x")
    assert container.run(umask=0o077) == 0
    assert mode(container.log) == 0o640


@pytest.mark.parametrize("room", ["exits", "persist", "run"])
def test_files_appear_by_rename(container: Container, room: str) -> None:
    """C7: exit files and conmon pidfile are renamed into place: nobody sees half of one."""
    name = {"exits": CID, "persist": "exit", "run": "conmon.pid"}[room]
    container.command("exit 0")
    assert container.run() == 0
    container.wait_until(lambda: Event("MOVED_TO", room, name) in container.events, "rename")
    whats = {
        event.what for event in container.events if (event.directory, event.name) == (room, name)
    }
    assert whats == {"MOVED_TO"}


def test_persist_exit_precedes_the_exit_file(container: Container) -> None:
    """C7, C17, D2: CRI-O reads persist/exit when it sees the exit file."""
    container.command("exit 0")
    assert container.run() == 0
    exit_file = Event("MOVED_TO", "exits", CID)
    container.wait_until(lambda: exit_file in container.events, "rename of the exit file")
    persist = Event("MOVED_TO", "persist", "exit")
    assert container.events.index(persist) < container.events.index(exit_file)


def test_old_files_are_replaced(container: Container) -> None:
    """C7: files of an earlier life under the same names are replaced."""
    container.put("ctl", "an old file")
    container.put("winsz", "an old file")
    container.put("attach", "an old file")
    container.exit_file.write_bytes(b"99 and more")
    container.persist_exit.write_bytes(b"99 and more")
    container.conmon_pidfile.write_bytes(b"99 and more, much more")
    container.fifo("start")
    container.command("exit 4")
    container.launch()
    container.started()
    assert container.parent_status() == 0
    assert (container.bundle / "ctl").is_fifo()
    assert (container.bundle / "winsz").is_fifo()
    assert (container.bundle / "attach").is_socket()
    assert int(container.conmon_pidfile.read_bytes()) == container.monitor.pid
    container.open_fifo(container.bundle / "start")
    container.monitor.wait()
    assert container.exit_file.read_bytes() == b"4"
    assert container.persist_exit.read_bytes() == b"4"


def test_what_is_left_after_a_normal_end(container: Container) -> None:
    """C7: attach is removed at the end; ctl and winsz stay for podman to remove."""
    container.command("exit 0")
    assert container.run() == 0
    assert not os.path.lexists(container.bundle / "attach")
    assert (container.bundle / "ctl").is_fifo()
    assert (container.bundle / "winsz").is_fifo()


def test_attach_link_in_the_socket_dir(container: Container) -> None:
    """C7, C12.2: without --full-attach `<socket dir>/<cuuid>` links to the bundle, for the life."""
    container.as_crio()
    link = container.root / "sockets" / f"uuid-{CID}"
    link.symlink_to("an old link")
    container.fifo("start")
    container.command("exit 0")
    container.launch()
    container.started()
    assert os.readlink(link) == str(container.bundle)
    assert (link / "attach").is_socket()
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0


@pytest.mark.ours("older versions leave the link behind")
def test_attach_link_is_removed(container: Container) -> None:
    """C7, C12.2, C20.17: the link in the socket dir goes with conmon."""
    container.as_crio()
    container.command("exit 0")
    assert container.run() == 0
    assert not os.listdir(container.root / "sockets")


@pytest.mark.ours("it removes another name than it has made (C20.17)")
def test_attach_link_of_107_bytes(container: Container) -> None:
    """C12.2, C20.17: clients cut the name by a byte, so the link is cut; it is removed as it is."""
    container.as_crio()
    sockets = container.root / "sockets"
    uuid = "u" * (107 - len(str(sockets)) - 1)
    container.options["-u"] = uuid
    container.fifo("start")
    container.command("exit 0")
    container.launch()
    container.started()
    assert os.listdir(sockets) == [uuid[:-1]]
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0
    assert not os.listdir(sockets)


@pytest.mark.ours("it leaves both (C20.17)")
def test_no_socket_is_left_by_a_failed_create(container: Container) -> None:
    """C20.17: the attach socket, and the link to it, go when the runtime fails."""
    container.as_crio()
    container.put("status", "1")
    container.put("stderr", "boom")
    container.launch()
    assert container.report() == {"pid": -1, "message": "boom"}
    assert container.monitor.wait() == 1
    assert not os.listdir(container.root / "sockets")
    assert not (container.bundle / "attach").exists()


def test_without_exit_and_persist_dirs(container: Container) -> None:
    """C2: both directories are optional; conmon's status still tells the code."""
    del container.options["--exit-dir"], container.options["--persist-dir"]
    container.command("exit 6")
    container.launch()
    container.started()
    assert container.monitor.wait() == 6
    assert not container.exit_file.exists()
    assert not container.persist_exit.exists()


def test_exit_dir_that_is_not_there(container: Container) -> None:
    """C7: an exit file that cannot be written makes conmon's status 1."""
    container.options["--exit-dir"] = str(container.root / "missing")
    container.command("exit 6")
    container.launch()
    container.started()
    assert container.monitor.wait() == 1
    assert container.persist_exit.read_bytes() == b"6"
    container.peer_leaves("bundle/attach")
