"""C11: --log-rotate with --log-max-files and --log-allowlist-dir."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from pathlib import Path

import pytest
from harness import Container
from harness_log import OVERHEAD, lines, records, written
from harness_os import Deadline, Inotify, wait_fd
from harness_proc import open_fds

#: Bytes of the record of a line `NNNNN`.
RECORD = OVERHEAD + 6

pytestmark = pytest.mark.ours("older versions have no --log-rotate")


def numbered(first: int, end: int) -> list[bytes]:
    return [b"%05d\n" % number for number in range(first, end)]


def rotate(size_max: int, files: int) -> list[str]:
    return ["--log-rotate", "--log-size-max", str(size_max), "--log-max-files", str(files)]


def old_logs(container: Container, count: int) -> list[Path]:
    """The paths of `count` old logs, the oldest first; they may be left."""
    paths = [container.log.with_name(f"ctr.log.{i}") for i in range(count, 0, -1)]
    container.allow(*(f"logs/{path.name}" for path in paths))
    return paths


def wait_end(container: Container, last: bytes) -> None:
    """Wait until the log ends so. For a moment of each rotation there is none."""

    def reached() -> bool:
        try:
            return container.log.read_bytes().endswith(last)
        except FileNotFoundError:
            return False

    container.wait_until(reached, f"{last!r} at the end of the log")


def test_the_example_of_the_contract(container: Container) -> None:
    """C11.1: at most 110 bytes, records of 51, two old logs: one record, then two and two."""
    container.put("data", b"".join(numbered(0, 9)))
    container.command("cat data")
    assert container.run(*rotate(110, 2)) == 0
    second, first = old_logs(container, 2)
    assert lines(second.read_bytes()) == numbered(4, 6)
    assert lines(first.read_bytes()) == numbered(6, 8)
    assert lines(container.log.read_bytes()) == numbered(8, 9)
    assert {path.name for path in container.log.parent.iterdir()} == {
        "ctr.log", "ctr.log.1", "ctr.log.2",
    }  # fmt: skip


def test_one_old_log(container: Container) -> None:
    """C2, C20.10: by default one old log is kept; C conmon makes a .2 of it."""
    container.put("data", b"".join(numbered(0, 99)))
    container.command("cat data")
    assert container.run("--log-rotate", "--log-size-max", str(10 * RECORD)) == 0
    [first] = old_logs(container, 1)
    assert lines(first.read_bytes()) == numbered(80, 90)
    assert lines(container.log.read_bytes()) == numbered(90, 99)


def test_what_followers_see(container: Container) -> None:
    """C11.1: log to .1, then the new file to log, with the log's mode, appended to."""
    container.fifo("go")
    container.command("echo 00001; echo 00002; read -r _ <go; echo 00003")
    container.launch(*rotate(RECORD, 1))
    container.started()
    wait_end(container, b" 00002\n")
    container.wait_until(lambda: True, "all events until then")
    moves = [
        (event.what, event.name)
        for event in container.events
        if event.directory == "logs" and event.what.startswith(("MOVED", "CREATE", "DELETE"))
    ]
    assert moves == [
        ("CREATE", "ctr.log"),
        ("CREATE", "ctr.log.new"),
        ("MOVED_FROM", "ctr.log"),
        ("MOVED_TO", "ctr.log.1"),
        ("MOVED_FROM", "ctr.log.new"),
        ("MOVED_TO", "ctr.log"),
    ]
    assert stat.S_IMODE(container.log.stat().st_mode) == 0o640
    pid = container.monitor.pid
    [fd] = [fd for fd, path in open_fds(pid).items() if path == str(container.log)]
    info = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().split()
    assert int(info[info.index("flags:") + 1], 8) & os.O_APPEND
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0
    old_logs(container, 1)


def test_rotated_many_times(container: Container) -> None:
    """C11.1: 50,000 records through 500 logs: the last are there, whole; no fd is lost."""
    container.fifo("go")
    container.put("data", b"".join(numbered(0, 50000)))
    container.command("read -r _ <go; cat data; echo done; read -r _ <go")
    container.launch(*rotate(100 * RECORD, 3))
    container.started()
    container.open_fifo(container.bundle / "go")
    wait_end(container, b" done\n")
    directory = str(container.log.parent)
    targets = open_fds(container.monitor.pid).values()
    assert sorted(path for path in targets if path.startswith(directory)) == [
        directory,
        str(container.log),
    ]
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0
    paths = old_logs(container, 3)
    # a line that a read has cut is two records
    assert all(98 * RECORD < path.stat().st_size <= 100 * RECORD for path in paths)
    found = written(b"".join(path.read_bytes() for path in [*paths, container.log]))
    assert len(found) > 290 * 6
    assert b"".join([*numbered(0, 50000), b"done\n"]).endswith(found)


class Follower:
    """Reads a log as a log shipper does: by name, and on through rotations by inode."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.inotify = Inotify()
        self.inotify.watch(log.parent, "logs")
        self.fd = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        self.data = b""

    def read_rest(self) -> None:
        while data := os.read(self.fd, 1 << 20):
            self.data += data

    def newer(self) -> Path | None:
        """The log that came after the one that is open, if there is one."""
        inode = os.fstat(self.fd).st_ino
        names = [self.log, *(self.log.with_name(f"{self.log.name}.{i}") for i in range(1, 500))]
        for newer, path in itertools.pairwise(names):
            if path.stat().st_ino == inode:
                return newer
        return None

    def go_on(self) -> None:
        """Open the newer log, if it can be told for certain which one that is.

        Numbers only grow: if ours has the same one before and after the open, that was right.
        """
        newer = self.newer()
        if newer is None:
            return
        fd = os.open(newer, os.O_RDONLY | os.O_CLOEXEC)
        if self.newer() == newer:
            self.read_rest()
            os.dup2(fd, self.fd)
        os.close(fd)

    def follow_until(self, last: bytes) -> None:
        deadline = Deadline()
        while True:
            self.inotify.read()
            self.read_rest()
            if self.data.endswith(last):
                return
            inode = os.fstat(self.fd).st_ino
            with contextlib.suppress(FileNotFoundError):  # a rename: of that there is an event
                self.go_on()
            if os.fstat(self.fd).st_ino == inode:
                assert wait_fd(self.inotify.fd, deadline), self.data[-200:]

    def close(self) -> None:
        os.close(self.fd)
        self.inotify.close()


def test_follower_gets_each_record_once(container: Container) -> None:
    """C11.1: who reads on through the rotations misses nothing and reads nothing twice."""
    container.fifo("go")
    container.put("data", b"".join(numbered(0, 10000)))
    container.command("read -r _ <go; cat data; echo done")
    container.launch(*rotate(100 * RECORD, 200))
    container.started()
    follower = Follower(container.log)
    container.on_close(follower.close)
    container.open_fifo(container.bundle / "go")
    follower.follow_until(b" done\n")
    assert container.end() == 0
    old_logs(container, 200)
    assert lines(follower.data) == [*numbered(0, 10000), b"done\n"]


def test_large_record_has_a_log_of_its_own(container: Container) -> None:
    """C10, C11.1: a record larger than the limit is written whole, and alone."""
    container.command(f"echo before; echo {'x' * 400}; echo after")
    assert container.run(*rotate(2 * RECORD, 5)) == 0
    paths = old_logs(container, 2)
    data = [
        [record.data for record in records(path.read_bytes())] for path in [*paths, container.log]
    ]
    assert data == [[b"before"], [b"x" * 400], [b"after"]]


def test_start_after_a_crash(container: Container) -> None:
    """C20.10: a rotation that was cut off before its end: no log, and an empty new one."""
    [first] = old_logs(container, 1)
    first.write_bytes(b"2020-01-01T00:00:00.000000000+00:00 stdout F 00000\n")
    container.log.with_name("ctr.log.new").touch()
    container.command("echo 00001; echo 00002")
    assert container.run(*rotate(RECORD, 2)) == 0
    paths = old_logs(container, 2)
    found = b"".join(path.read_bytes() for path in [*paths, container.log])
    assert lines(found) == numbered(0, 3)
    assert not container.log.with_name("ctr.log.new").exists()


def test_symlinked_log(container: Container) -> None:
    """C11.2: a log that is a symlink is not rotated: conmon says so, and logs everything."""
    target = container.root / "run" / "target"
    container.allow("run/target")
    container.log.symlink_to(target)
    container.put("data", b"".join(numbered(0, 99)))
    container.command("cat data")
    assert container.run(*rotate(2 * RECORD, 2)) == 0
    text = f"Log file {container.log} is not rotated, its size is not limited: it is a symbolic"
    assert text.encode() in container.stderr
    assert lines(target.read_bytes()) == numbered(0, 99)
    assert container.log.is_symlink()


def test_rotation_that_fails(container: Container) -> None:
    """C20.10: nothing is lost, and the container does not feel it."""
    obstacle = container.log.with_name("ctr.log.1")
    obstacle.mkdir()
    container.put("data", b"".join(numbered(0, 999)))
    container.command("cat data; exit 3")
    assert container.run(*rotate(2 * RECORD, 2)) == 3
    assert lines(container.log.read_bytes()) == numbered(0, 999)
    assert [path.name for path in container.log.parent.glob("ctr.log.*")] == ["ctr.log.1"]


@pytest.mark.parametrize("options", [[], ["--log-rotate"]])
def test_allowlist_allows(container: Container, options: list[str]) -> None:
    """C11.6: a log below one of the directories."""
    container.command("echo logged")
    allow = ["--log-allowlist-dir", "/absent", "--log-allowlist-dir", str(container.root)]
    assert container.run(*options, *allow) == 0
    assert lines(container.log.read_bytes()) == [b"logged\n"]


@pytest.mark.parametrize("options", [[], ["--log-rotate"]])
def test_allowlist_refuses(container: Container, options: list[str]) -> None:
    """C11.6, C20.10: any other log is refused before it is made; C conmon logs there."""
    outside = container.root / "run" / "elsewhere"
    container.log.parent.joinpath("link").symlink_to(container.root / "run")
    container.allow("logs/link")
    container.options["-l"] = f"k8s-file:{container.log.parent}/link/elsewhere"
    container.launch(*options, "--log-allowlist-dir", str(container.log.parent))
    assert container.parent_status() == 1
    text = f"Log path {container.log.parent}/link/elsewhere is not below any --log-allowlist-dir"
    assert container.stderr == f"[conmon:e]: {text}\n".encode()
    assert not outside.exists()
    assert container.files() <= {"bundle/gate", "logs/link", "run/stdout", "run/stderr"}
