"""conmonctl logs -f: through everything that happens to a log while it is read."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Container
from harness_os import Deadline, Process

from .scenes import cid, finish, name, running
from .tool import Tool, read_lines

#: The container says what it is told to, line by line.
ECHO = "while read -r line; do echo $line; done <say &"
POLL, PPOLL = 7, 271  # x86-64


@contextlib.contextmanager
def following(
    conmonctl: Tool, container: Container, *args: str
) -> Iterator[subprocess.Popen[bytes]]:
    """logs -f of a container; it ends well, and with the container."""
    with conmonctl.start("logs", "-f", *args, name(container)) as process:
        yield process
        finish(container)
        assert read_lines(process, 1) == []
        assert process.wait(timeout=30) == 0


def speaking(container: Container, *extra: str) -> int:
    """Start a container that says what it is told; a fd to tell it through."""
    fifo = container.fifo("say")
    running(container, ECHO, *extra)
    fd = os.open(fifo, os.O_WRONLY)
    container.on_close(lambda: os.close(fd))
    return fd


def say(fd: int, *words: str) -> list[bytes]:
    """Have the container say lines; as they come out of the log."""
    lines = [word.encode() + b"\n" for word in words]
    os.write(fd, b"".join(lines))
    return lines


def says(process: subprocess.Popen[bytes], fd: int, *words: str) -> None:
    """What the container says comes out: these lines, and nothing else before them."""
    lines = say(fd, *words)
    assert read_lines(process, len(lines)) == lines


def test_lines_as_they_come(conmonctl: Tool, container: Container) -> None:
    """logs -f: what is there, then what comes, until the container ends."""
    fd = speaking(container)
    first = say(fd, "a", "b", "c")
    container.wait_log(b" c\n")
    with following(conmonctl, container, "--tail", "2") as process:
        assert read_lines(process, 2) == first[1:]
        for word in ("d", "e"):
            says(process, fd, word)


def test_last_words(conmonctl: Tool, container: Container) -> None:
    """logs -f: nothing of what was written just before the end is missed."""
    container.put("data", b"".join(b"line %d\n" % i for i in range(5000)))
    running(container, "echo ready; read -r _ <finish; cat data; exit 0")
    with conmonctl.start("logs", "-f", name(container)) as process:
        assert read_lines(process, 1) == [b"ready\n"]
        finish(container)
        assert len(read_lines(process, 6000)) == 5000
        assert process.wait(timeout=30) == 0


def test_prompt(conmonctl: Tool, container: Container) -> None:
    """logs -f: a prompt without newline is shown, and not again when its line ends."""
    running(container, "printf 'name: '; read -r x <finish; echo given; exit 0")
    with conmonctl.start("logs", "-f", name(container)) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"name: "
        container.open_fifo(container.bundle / "finish")
        assert process.stdout.read() == b"given\n"
        assert container.end() == 0


def test_rotation(conmonctl: Tool, container: Container) -> None:
    """C11: logs -f goes through rotations; all lines, once, in order."""
    container.allow(*(f"logs/ctr.log.{number}" for number in range(1, 10)))
    fd = speaking(container, "--log-rotate", "--log-size-max", "300", "--log-max-files", "9")
    with following(conmonctl, container) as process:
        for start in range(0, 30, 5):
            says(process, fd, *(f"line-{i}" for i in range(start, start + 5)))
    assert container.log.with_name("ctr.log.5").exists()


def test_rotations_while_not_reading(conmonctl: Tool, container: Container) -> None:
    """C11: logs that were rotated several times between two reads are read in their order."""
    container.allow(*(f"logs/ctr.log.{number}" for number in range(1, 10)))
    fd = speaking(container, "--log-rotate", "--log-size-max", "300", "--log-max-files", "9")
    with following(conmonctl, container) as process:
        says(process, fd, "first")
        os.kill(process.pid, 19)  # SIGSTOP
        try:
            words = say(fd, *(f"line-{i:02}" for i in range(25)))
            container.wait_until(lambda: logged(container, b" line-24\n"), "the last line")
        finally:
            os.kill(process.pid, 18)  # SIGCONT
        assert read_lines(process, 25) == words


def logged(container: Container, data: bytes) -> bool:
    """Whether the log, or a rotated one, has something."""
    for path in container.log.parent.glob("ctr.log*"):
        with contextlib.suppress(FileNotFoundError):  # it is being renamed
            if data in path.read_bytes():
                return True
    return False


def test_size_limit(conmonctl: Tool, container: Container) -> None:
    """C10: logs -f goes on when the log begins anew because of its size."""
    fd = speaking(container, "--log-size-max", "300")
    with following(conmonctl, container) as process:
        for i in range(30):
            says(process, fd, f"line-{i}")
    assert container.log.stat().st_size <= 300


def test_moved_and_reopened(conmonctl: Tool, container: Container) -> None:
    """C11.4: logs -f follows a log that is moved away, and to the new one once it is used.

    As logrotate does it: the new file is there, empty, before the monitor is told.
    """
    container.allow("logs/moved")
    fd = speaking(container)
    with following(conmonctl, container) as process:
        says(process, fd, "before")
        container.log.rename(container.log.with_name("moved"))
        says(process, fd, "moved")
        container.log.touch()
        says(process, fd, "still the old one")
        conmonctl("reopen", name(container))
        says(process, fd, "new", "newer")
    assert b"still the old one" not in container.log.read_bytes()


def test_truncated(conmonctl: Tool, container: Container) -> None:
    """logs -f goes on at the start of a log that was cut to nothing."""
    fd = speaking(container)
    with following(conmonctl, container) as process:
        says(process, fd, "a longer line before")
        os.truncate(container.log, 0)
        says(process, fd, "x")


def test_record_taken_back(conmonctl: Tool, tmp_path: Path) -> None:
    """logs -f: half a record that is taken back and written again is printed once, as it became."""
    log = tmp_path / "log"
    record = b"2026-11-22T06:00:00.000000000+00:00 stdout F %b\n"
    log.write_bytes(record % b"one" + (record % b"lost")[:-3])
    with conmonctl.start("logs", "-f", "--file", str(log)) as process:
        assert read_lines(process, 1) == [b"one\n"]
        os.truncate(log, len(record % b"one"))
        with log.open("ab") as file:
            file.write(record % b"another")
        assert read_lines(process, 1) == [b"another\n"]
        process.terminate()
        assert process.wait(timeout=30) == -15


def test_no_polling(conmonctl: Tool, container: Container) -> None:
    """logs -f waits for the kernel to tell, without a timeout."""
    if os.uname().machine != "x86_64":
        pytest.skip("knows the numbers of x86-64's system calls only")
    fd = speaking(container)
    with following(conmonctl, container) as process:
        says(process, fd, "hello")
        deadline = Deadline()
        # Polled: that a process sleeps has no event.
        waiting = (str(POLL), str(PPOLL))
        while (call := Path(f"/proc/{process.pid}/syscall").read_text().split())[0] not in waiting:
            assert not deadline.passed(), call
        timeout = int(call[3], 16) & 0xFFFF_FFFF
        assert timeout == (0xFFFF_FFFF if int(call[0]) == POLL else 0)


def test_reader_that_goes(conmonctl: Tool, container: Container) -> None:
    """logs -f ends when nobody reads any more, though the container says nothing."""
    fd = speaking(container)
    with conmonctl.start("logs", "-f", name(container)) as process:
        says(process, fd, "hello")
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.wait(timeout=30)
        assert process.stderr.read() == b""
    finish(container)


def test_monitor_killed(conmonctl: Tool, container: Container) -> None:
    """logs -f ends when the monitor does, however it ends."""
    fd = speaking(container)
    pid = int(container.pidfile.read_text())
    with conmonctl.start("logs", "-f", cid(container)) as process:
        says(process, fd, "hello")
        container.monitor.signal(9)
        assert process.wait(timeout=30) == 0
    Process(pid).signal(9)
    container.allow("bundle/attach", "bundle/conmon-counters")


def test_rotations_at_full_speed(conmonctl: Tool, container: Container) -> None:
    """C11: with --log-rotate a follower loses nothing, as long as no old log is removed."""
    lines = [b"line %d\n" % number for number in range(20_000)]
    container.put("data", b"".join(lines))
    container.allow(*(f"logs/ctr.log.{number}" for number in range(1, 200)))
    running(
        container, "echo ready; read -r _ <finish; cat data; exit 0",
        "--log-rotate", "--log-size-max", "20000", "--log-max-files", "199",
    )  # fmt: skip
    with conmonctl.start("logs", "-f", name(container)) as process:
        assert read_lines(process, 1) == [b"ready\n"]
        finish(container)
        assert read_lines(process, 30_000) == lines
        assert process.wait(timeout=30) == 0
    assert container.log.with_name("ctr.log.40").exists()
