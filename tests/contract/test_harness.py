"""The harness's own promise: what is left behind is found, and ended."""

from __future__ import annotations

import os
import subprocess

import pytest
from harness import Container, Guard
from harness_log import Record, records
from harness_os import Process, descendants


def test_orphans_are_found_and_ended() -> None:
    """A process whose parent has ended is found by its command, and ended at the latest then."""
    before = descendants()
    with Guard() as guard:
        shell = 'sleep 1000 >/dev/null 2>&1 & printf "%s" $!'
        done = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, check=True, timeout=9)
        orphan = Process(int(done.stdout))
        assert [row.command for row in guard.left(0)] == ["sleep 1000"]
        assert orphan.alive()
    assert not orphan.alive()
    orphan.close()
    assert descendants() == before


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
