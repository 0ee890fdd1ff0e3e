"""C10, C11.4: symbolic links as the log, and where somebody puts one in its place later."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from harness import Container
from harness_fifo import FifoReader
from harness_log import OVERHEAD, lines
from harness_os import Deadline

#: Bytes of the record of a line `NNNN`.
RECORD = OVERHEAD + 5

pytestmark = pytest.mark.ours("the link is replaced")


def link_to(container: Container, target: Path | str) -> None:
    """Make the log a link; its target may be left."""
    container.log.symlink_to(target)
    container.allow("run/target.log")


def reopen(container: Container, what: tuple[str, ...] = ("CREATE", "MOVED_TO", "MODIFY")) -> None:
    """Ask for it, and wait as CRI-O does until something of a log's name was made or changed."""
    container.wait_until(lambda: True, "all earlier events")
    container.events.clear()
    (container.bundle / "ctl").write_bytes(b"2 0 0\n")
    container.wait_until(
        lambda: any(
            event.name in ("ctr.log", "target.log") and event.what in what
            for event in container.events
        ),
        "the log to be made or changed",
    )


def launch_quiet(container: Container, *options: str) -> None:
    """A container that writes one line, waits, and writes another."""
    container.fifo("go")
    container.command("echo first; read -r _ <go; echo second")
    container.launch(*options)
    container.started()
    container.wait_log(b"first\n")


def finish(container: Container) -> None:
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


def wait_there(path: Path) -> None:
    """Wait for a file in a directory that is not watched: polled."""
    deadline = Deadline()
    while not path.exists():
        assert not deadline.passed(), f"{path} does not come"
        time.sleep(0.002)


@pytest.mark.parametrize("target", ["{}/run/target.log", "../run/target.log", "chain"])
@pytest.mark.parametrize("there", [True, False])
def test_limit_of_a_linked_log(container: Container, target: str, there: bool) -> None:
    """C10: at the size limit what the link leads to is replaced; the link stays what it is."""
    path = container.root / "run" / "target.log"
    if there:
        path.touch()
    if target == "chain":
        container.log.with_name("chain").symlink_to(path)
        container.allow("logs/chain")
    link_to(container, target.format(container.root))
    before = os.readlink(container.log)
    container.put("data", b"".join(b"%04d\n" % number for number in range(100)))
    container.command("cat data")
    assert container.run("--log-size-max", str(3 * RECORD)) == 0
    assert os.readlink(container.log) == before
    assert lines(path.read_bytes()) == [b"0099\n"]
    assert not path.is_symlink()


def test_a_link_to_no_file_has_no_limit(container: Container) -> None:
    """C10: a log that is a link to a fifo or a device is never replaced, nor is the device."""
    path = container.root / "run" / "target.log"
    os.mkfifo(path)
    reader = FifoReader(path)
    link_to(container, path)
    container.put("data", b"".join(b"%04d\n" % number for number in range(100)))
    container.command("cat data")
    container.launch("--log-size-max", str(3 * RECORD))
    container.started()
    assert lines(reader.read_all()) == [b"%04d\n" % number for number in range(100)]
    reader.close()
    assert container.end() == 0
    assert container.log.is_symlink()
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_reopening_a_linked_log(container: Container) -> None:
    """C11.4: the target's name is reopened, wherever the link leads by then."""
    path = container.root / "run" / "target.log"
    link_to(container, path)
    launch_quiet(container)
    path.rename(path.with_name("moved"))
    container.log.unlink()
    container.log.symlink_to(container.root / "run" / "elsewhere")
    container.allow("run/moved")
    reopen(container)
    finish(container)
    assert lines(path.with_name("moved").read_bytes()) == [b"first\n"]
    assert lines(path.read_bytes()) == [b"second\n"]
    assert not (container.root / "run" / "elsewhere").exists()


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_planted_before_reopening(container: Container, there: bool, linked: bool) -> None:
    """C11.4: a link in the log's place is replaced by a new log; what it leads to is not touched.

    And who asked sees that there is a new log (D2).
    """
    victim = container.root / "victim"
    container.allow("victim", "logs/moved", "run/moved")
    if there:
        victim.write_bytes(b"precious\n")
    path = container.log
    if linked:
        path = container.root / "run" / "target.log"
        link_to(container, path)
    launch_quiet(container)
    path.rename(path.with_name("moved"))
    path.symlink_to(victim)
    reopen(container, ("MOVED_TO",))
    finish(container)
    assert victim.exists() == there
    assert not there or victim.read_bytes() == b"precious\n"
    assert not path.is_symlink()
    assert lines(path.read_bytes()) == [b"second\n"]
    assert lines(path.with_name("moved").read_bytes()) == [b"first\n"]


def test_a_link_planted_for_the_limit(container: Container) -> None:
    """C10: at the size limit no link is followed, neither at the log's name nor at <log>.tmp."""
    victim = container.root / "victim"
    victim.write_bytes(b"precious\n")
    container.allow("victim", "logs/moved")
    launch_quiet(container, "--log-size-max", "60")
    container.log.rename(container.log.with_name("moved"))
    container.log.symlink_to(victim)
    container.log.with_name("ctr.log.tmp").symlink_to(victim)
    finish(container)
    assert victim.read_bytes() == b"precious\n"
    assert lines(container.log.read_bytes()) == [b"second\n"]
    assert sorted(os.listdir(container.log.parent)) == ["ctr.log", "moved"]


def test_a_fifo_planted_before_reopening(container: Container) -> None:
    """C11.4: it is not written to, whoever reads it: the log goes on where it was."""
    container.allow("logs/moved")
    launch_quiet(container)
    moved = container.log.with_name("moved")
    container.log.rename(moved)
    os.mkfifo(container.log)
    reader = FifoReader(container.log)
    (container.bundle / "ctl").write_bytes(b"2 0 0\n")
    assert reader.read() == b""  # conmon has looked at it
    finish(container)
    assert reader.read() == b""
    reader.close()
    assert lines(moved.read_bytes()) == [b"first\n", b"second\n"]


def test_a_directory_made_anew(container: Container) -> None:
    """C11.4: without rotation the log's path counts: also where its directory is a new one."""
    launch_quiet(container)
    old = container.root / "logs.old"
    container.log.parent.rename(old)
    container.allow("logs.old/ctr.log")
    container.log.parent.mkdir()
    (container.bundle / "ctl").write_bytes(b"2 0 0\n")
    # before there is more output: which of the two is read first is not promised
    wait_there(container.log)
    finish(container)
    assert lines((old / "ctr.log").read_bytes()) == [b"first\n"]
    assert lines(container.log.read_bytes()) == [b"second\n"]
