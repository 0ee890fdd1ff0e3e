"""C21.8: what a user may have of the system, used up by another process of that user.

A start is refused with a reason, or works. A container that runs goes on: its output is logged,
its end is seen, its exit code is written, its exit command runs.

What is used up really, by a user that nobody else is. For epoll watches that takes a GB of the
kernel's memory: test_c21_failures.py has them refused.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from harness import Container
from harness_log import written
from harness_rooms import STANDIN

pytestmark = [
    pytest.mark.ours("what it does then is in docs/differences.md"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user"),
]

#: Of a user's: as few as leave room for a container, as many as a test can use up.
PROCESSES, FDS = 40, 8192
QUOTAS = ["processes", "pipes", "inotify"]


def as_user() -> list[str]:
    """Run what follows as a user that has no other process than a test's.

    It may read and write any file, as that of a rootless podman may in its own directories.
    """
    user = str(1_000_000 + os.getpid())
    files = "+dac_override,+dac_read_search,+fowner"
    return [
        *("prlimit", f"--nproc={PROCESSES}", f"--nofile={FDS}", "--memlock=0", "--"),
        *("setpriv", "--reuid", user, "--regid", user, "--clear-groups"),
        *("--inh-caps", files, "--ambient-caps", files, "--bounding-set", "-all," + files),
    ]


@contextmanager
def used_up(what: str, left: int = 0) -> Iterator[None]:
    """Somebody of that user has all that can be had."""
    with subprocess.Popen(
        [*as_user(), str(STANDIN / "use-up"), what, str(left)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert int(process.stdout.readline()) > 0
        yield
        process.stdin.close()
        assert process.wait(30) == 0


def with_exit_command(container: Container) -> None:
    """One that needs no process besides its own."""
    script = container.root / "after" / "script"
    script.write_text('#!/bin/sh\n: >"$1"\n')
    script.chmod(0o755)
    container.options["--exit-command"] = str(script)
    container.options["--exit-command-arg"] = [str(container.root / "after" / "ran")]


@pytest.mark.parametrize("exit_command", [True, False], ids=["podman", "CRI-O"])
@pytest.mark.parametrize("quota", QUOTAS)
def test_used_up_while_it_runs(container: Container, quota: str, exit_command: bool) -> None:
    """C21.8: what a neighbour takes costs a running container neither output nor exit code."""
    container.command("echo before; read -r _ <go; echo after; echo err >&2; exit 7")
    container.fifo("go")
    if exit_command:
        with_exit_command(container)
    container.launch(wrapper=as_user())
    container.started()
    container.wait_log(b"before")
    assert container.parent_status() == 0
    with used_up(quota):
        client = container.attach()
        container.open_fifo(container.bundle / "go")
        assert container.end() == 7
        assert client.read_all() == b"after\n"
        assert container.persist_exit.read_bytes() == b"7"
    log = container.log.read_bytes()
    assert (written(log), written(log, "stderr")) == (b"before\nafter\n", b"err\n")
    assert (container.root / "after" / "ran").exists() == exit_command


@pytest.mark.parametrize("quota", ["pipes", "inotify"])
def test_used_up_before_the_start(container: Container, quota: str) -> None:
    """C21.8: a container that starts when there are no more pages for pipes, or no inotify."""
    container.put("data", b"0123456789abcde\n" * 100_000)
    container.command("cat data; exit 8")
    with used_up(quota):
        assert container.run(wrapper=as_user()) == 8
    assert len(written(container.log.read_bytes())) == 1_600_000


@pytest.mark.parametrize("left", range(1, 8))
def test_few_processes_before_the_start(container: Container, left: int) -> None:
    """C21.8: where a process is missing, be it conmon's own, the runtime's or the container's,
    the caller gets a reason, and nothing is left; else all is as ever.
    """
    container.command("echo out; exit 9")
    with_exit_command(container)
    with used_up("processes", left):
        container.launch(wrapper=as_user())
        report = container.report()
        if isinstance(report["data"], int) and report["data"] > 0:
            assert container.end() == 9
            assert written(container.log.read_bytes()) == b"out\n"
        else:
            assert report["message"]
            assert container.message() == b""
    assert container.nothing_runs()


@pytest.mark.parametrize("most", range(3, 40))
def test_few_fds_before_the_start(container: Container, most: int) -> None:
    """C21.8: where an fd is missing, be it conmon's own or the runtime's, the caller gets a reason.

    A container that was started has its exit code, whatever its own shell could not open.
    """
    container.command("exit 9")
    with_exit_command(container)
    container.launch(wrapper=["prlimit", f"--nofile={most}", "--"])
    report = container.report()
    if isinstance(report["data"], int) and report["data"] > 0:
        assert container.end() in {2, 9}
    else:
        assert report["message"]
        assert container.message() == b""
    assert container.nothing_runs()
