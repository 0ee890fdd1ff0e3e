"""C17.8, C17.9: the exit code reaches both exit files, whatever fails once, or one of them does.

CRI-O's persist directory is on a disk that a container can fill.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from harness import Container
from harness_os import Event
from harness_rooms import CID
from harness_syslog import Syslog

FULL = {
    "bytes": "cat /dev/zero >fill 2>&1",
    "names": "i=0; while : >fill$i; do i=$((i+1)); done 2>&1",
}
PRIVATE = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c"]


def on_small_disks(container: Container, *directories: str) -> list[str]:
    """The wrapper that gives conmon and the container little file systems of their own there."""
    if os.getuid() != 0:
        assert "CI" not in os.environ, "only root may mount file systems"
        pytest.skip("only root may mount file systems")
    mount = 'mount -t tmpfs -o size=64k,nr_inodes=20 tmpfs "$d"'
    script = f'for d in {" ".join(directories)}; do {mount} || exit; done; exec "$0" "$@"'
    return [*PRIVATE, f"cd {container.root}; {script}"]


def read_afterwards(container: Container) -> Path:
    """Have the exit command, which is where conmon is, copy both exit files; where to."""
    seen = container.root / "tmp" / "seen"
    container.allow("tmp/seen")
    container.options["--exit-command"] = "/bin/sh"
    script = f"cat {container.persist_exit} {container.exit_file} >{seen}"
    container.options["--exit-command-arg"] = ["-c", script]
    return seen


@pytest.mark.parametrize("what", FULL)
@pytest.mark.parametrize("where", [["persist"], ["exits"], ["persist", "exits"]])
@pytest.mark.ours("the code does not come to a full disk")
def test_full_disk(container: Container, where: Sequence[str], what: str) -> None:
    """C17.8, C17.9: a container that has filled their disks ends with its code in both files."""
    fills = "; ".join(f"cd {container.root}/{name}; {FULL[what]}" for name in where)
    container.command(f"({fills}); exit 5")
    seen = read_afterwards(container)
    container.launch(wrapper=on_small_disks(container, *where))
    container.started()
    assert container.monitor.wait() == 5
    assert seen.read_bytes() == b"55"


def inject(container: Container, *failures: str) -> list[str]:
    """The wrapper that has calls fail in conmon, which must be started with --sync."""
    if shutil.which("strace") is None:
        assert "CI" not in os.environ, "strace is missing"
        pytest.skip("strace, which has system calls fail, is not installed")
    container.allow("run/trace")
    del container.options["--conmon-pidfile"]  # it comes by rename, too
    calls = sorted({failure.partition(":")[0] for failure in failures})
    rules = [word for failure in failures for word in ("-e", f"inject={failure}")]
    trace = str(container.root / "run" / "trace")
    return ["strace", "-D", "-qq", "-o", trace, "-e", f"trace={','.join(calls)}", *rules]


@pytest.mark.parametrize(
    "failures",
    [
        ["rename:error=EIO:when=1"],
        ["rename:error=ENOSPC:when=2"],
        # of each file both ways fail twice, and then neither does
        ["rename:error=ENOSPC:when=1..4"],
        ["linkat:error=EPERM", "rename:error=EDQUOT:when=1..2"],
    ],
)
@pytest.mark.ours("it does not try again")
def test_what_fails_is_tried_again(container: Container, failures: list[str]) -> None:
    """C17.8, C17.9: one call that fails, or several in a row, lose no code, and leave no file."""
    container.command("exit 5")
    container.launch("--sync", wrapper=inject(container, *failures))
    container.started()
    assert container.end() == 5
    assert container.persist_exit.read_bytes() == b"5"
    assert container.parent_status() == 5
    first, last = Event("MOVED_TO", "persist", "exit"), Event("MOVED_TO", "exits", CID)
    container.wait_until(lambda: last in container.events, "exit file")
    assert container.events.index(first) < container.events.index(last)


@pytest.mark.parametrize("call", ["linkat", "pwrite64", "ftruncate"])
def test_other_way(container: Container, call: str) -> None:
    """C17.8, C17.9: where the reserved file cannot be used an ordinary one takes its place."""
    container.command("exit 5")
    container.launch("--sync", wrapper=inject(container, f"{call}:error=EIO"))
    container.started()
    assert container.end() == 5
    assert container.persist_exit.read_bytes() == b"5"
    assert container.parent_status() == 5


def test_without_files_that_have_no_name(container: Container) -> None:
    """C17.8, C17.9: nor does a file system without O_TMPFILE lose anything."""
    wrapper = inject(container, "openat:error=EOPNOTSUPP")
    for path in (container.persist_exit.parent, container.exit_file.parent):
        wrapper += ["-P", str(path)]
    container.command("exit 5")
    container.launch("--sync", wrapper=wrapper)
    container.started()
    tried = (container.root / "run" / "trace").read_bytes().count(b"O_TMPFILE")
    assert container.peer or tried == 2
    assert container.end() == 5
    assert container.persist_exit.read_bytes() == b"5"


@pytest.mark.parametrize("how", ["made anew", "another file system"])
def test_directory_that_is_another_one_by_then(container: Container, how: str) -> None:
    """C17.8, C17.9: the files are where the paths lead at the end."""
    persist = container.root / "persist"
    seen = read_afterwards(container)
    wrapper = []
    if how == "made anew":
        container.command(f"rmdir {persist} && mkdir {persist}; exit 5")
    else:
        wrapper = on_small_disks(container)
        container.command(f"mount -t tmpfs tmpfs {persist}; exit 5")
    container.launch(wrapper=wrapper)
    container.started()
    assert container.end() == 5
    assert seen.read_bytes() == b"55"


@pytest.mark.ours("it gives up with the first file")
def test_persist_dir_that_has_gone(container: Container) -> None:
    """C7, C17.9: the code goes to the exit directory; conmon's status is 1, and it says why."""
    persist = container.root / "persist"
    container.command(f"rmdir {persist}; exit 5")
    syslog = Syslog(container)
    container.launch("--syslog", wrapper=syslog.wrapper)
    container.started()
    container.monitor.wait()
    assert container.exit_file.read_bytes() == b"5"
    text = f"Failed to write 5 to container exit file: {persist}/exit: No such file or directory"
    assert syslog.next().text.endswith(os.fsencode(text))
    assert container.monitor.wait() == 1


@pytest.mark.ours("a temporary name is longer than a name may be")
def test_container_with_the_longest_name(container: Container) -> None:
    """C7: the exit file of an id with 255 characters is written, too."""
    cid = "c" * 255
    container.options["-c"] = cid
    container.allow(f"exits/{cid}")
    container.command("exit 5")
    container.launch()
    container.started()
    assert container.monitor.wait() == 5
    assert (container.exit_file.parent / cid).read_bytes() == b"5"


def test_conmon_that_is_killed_leaves_nothing(container: Container) -> None:
    """C7: what was reserved for the exit files goes with conmon."""
    container.command("exec sleep 1000")
    container.launch()
    pid = container.started()
    container.monitor.signal(signal.SIGKILL)
    container.monitor.wait()
    os.kill(pid, signal.SIGKILL)
    assert container.nothing_runs()
    assert not os.listdir(container.exit_file.parent)
    assert not os.listdir(container.persist_exit.parent)
    container.allow("bundle/attach", "bundle/conmon-counters")
