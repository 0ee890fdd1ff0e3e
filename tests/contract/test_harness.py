"""The harness's own promise: what is left behind is found, and ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import Container, Guard
from harness_log import Record, records
from harness_os import TIMEOUT_S, Deadline, Process, descendants
from harness_proc import signals


def test_orphans_are_found_and_ended() -> None:
    """A process whose parent has ended is found by its command, and ended at the latest then."""
    before = descendants()
    with Guard() as guard:
        shell = 'sleep 1000 >/dev/null 2>&1 & printf "%s" $!'
        done = subprocess.run(
            ["/bin/sh", "-c", shell], capture_output=True, check=True, timeout=TIMEOUT_S
        )
        orphan = Process(int(done.stdout))
        deadline = Deadline()  # the shell's child has let go of its stdout before it is a sleep
        while [row.command for row in guard.left(0)] != ["sleep 1000"]:
            assert not deadline.passed(), guard.left(0)
            time.sleep(0.001)
        assert orphan.alive()
    assert not orphan.alive()
    orphan.close()
    assert descendants() == before


UNUSUAL = "trap '' HUP INT QUIT TERM USR1 USR2 CHLD TSTP; exec \"$@\""
STATUS = """
import signal, subprocess
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
from harness_os import ordinary_signals
ordinary_signals()
subprocess.run(["cat", "/proc/self/status"], check=True)
signal.raise_signal(signal.SIGHUP)
print("Survived: yes")
"""


def test_what_is_started_has_ordinary_signals() -> None:
    """Under nohup, or as a background job, the tests give on no ignored or blocked signal."""
    done = subprocess.run(
        ["sh", "-c", UNUSUAL, "sh", sys.executable, "-uc", STATUS],
        env={"PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    fields = dict(line.split(":", 1) for line in done.stdout.splitlines())
    masks = {name: signals(fields[name].strip()) for name in ("SigBlk", "SigIgn")}
    assert masks == {"SigBlk": set(), "SigIgn": set()}
    assert fields["Survived"].strip() == "yes"


def test_files_left_behind_are_found(container: Container) -> None:
    """Whatever conmon makes beside the files of C7 is unexpected; what a test gave it is not."""
    container.put("given", "by the test")
    container.command("exit 0")
    assert container.run() == 0
    assert container.unexpected() == set()
    stray = container.exit_file.with_name("exit.XXXXXX")
    stray.write_bytes(b"")
    assert container.unexpected() == {"exits/exit.XXXXXX"}
    stray.unlink()


def test_links_and_fifos_count_as_files(container: Container) -> None:
    """A dangling link or a fifo is a file left behind, too."""
    link = container.root / "sockets" / "link"
    os.symlink("nowhere", link)
    fifo = container.fifo("fifo")
    assert {"sockets/link", "bundle/fifo"} <= container.unexpected()
    link.unlink()
    fifo.unlink()
    container.allow("bundle/gate")


def test_reader_of_the_log_is_strict() -> None:
    """What is not a record of C8.1 is refused."""
    good = b"2026-08-01T12:00:00.123456789+00:00 stdout F x\n"
    assert records(good) == [Record(good[:35], "stdout", "F", b"x")]
    for bad in (good[:-1], good.replace(b"+00:00", b"Z"), good.replace(b" F ", b" X "), b"\n"):
        with pytest.raises(AssertionError):
            records(bad)
