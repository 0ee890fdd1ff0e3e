"""C17.11, C7: at its end conmon removes the names that it made, not those of who came after it.

A container that is started again has the same bundle. Its new monitor has its socket, its link
and its counters there by the time that the old one, held up, comes to its end.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from harness import Container
from harness_rooms import CID

pytestmark = pytest.mark.ours("it removes whatever has the name")


def bind_another(path: Path) -> socket.socket:
    """Put another socket in the place of one, as the attach socket of the next monitor."""
    path.unlink()
    another = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    another.bind(f"/proc/self/fd/{directory}/{path.name}")
    os.close(directory)
    return another


def link_another(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def test_names_of_the_next_monitor(container: Container) -> None:
    """C17.11: attach socket, its link and counters stay if they are another monitor's by then."""
    container.as_crio()
    container.fifo("start")
    container.command("exit 4")
    container.launch()
    container.started()
    assert container.parent_status() == 0
    link = container.root / "sockets" / f"uuid-{CID}"
    counters = container.bundle / "conmon-counters"
    container.wait_until(counters.is_symlink, "counters")
    with bind_another(container.bundle / "attach"):
        link_another(link, str(container.bundle))
        link_another(counters, f"/proc/{os.getpid()}/fd/0")
        container.open_fifo(container.bundle / "start")
        assert container.end() == 4
        assert (container.bundle / "attach").is_socket()
        assert link.is_symlink()
        assert counters.is_symlink()
    container.allow("bundle/attach", "bundle/conmon-counters", f"sockets/uuid-{CID}")


def test_names_of_the_next_launch(container: Container) -> None:
    """C20.17: a launch that fails leaves the names of the next one as well."""
    container.fifo("hang")
    container.put("status", "1")
    container.launch()
    container.wait_name(container.bundle / "winsz")
    with bind_another(container.bundle / "attach"):
        container.open_fifo(container.bundle / "hang")
        assert container.report() == {"data": -1}
        assert container.monitor.wait() == 1
        assert (container.bundle / "attach").is_socket()
    container.allow("bundle/attach")


def test_names_that_have_gone(container: Container) -> None:
    """C17.11: who has cleaned up before conmon is no reason for an error."""
    container.as_crio()
    container.fifo("start")
    container.command("exit 4")
    container.launch()
    container.started()
    assert container.parent_status() == 0
    counters = container.bundle / "conmon-counters"
    container.wait_until(counters.is_symlink, "counters")
    for path in (counters, container.bundle / "attach", container.root / "sockets" / f"uuid-{CID}"):
        path.unlink()
    container.open_fifo(container.bundle / "start")
    assert container.end() == 4
    assert container.monitor.wait() == 4


def test_pid_file_that_is_a_fifo(container: Container) -> None:
    """C4.21, C20.7: nothing waits for a pid that nobody writes."""
    os.mkfifo(container.pidfile)
    container.put("no-pid-file", "")
    container.launch()
    assert container.report()["data"] == -1
    assert container.monitor.wait() == 1
