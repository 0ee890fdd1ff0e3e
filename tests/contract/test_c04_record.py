"""The record that one life of conmon hands to the next, made by somebody else."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
HEAD = struct.pack("<8sII", b"CRNOMNOC", 1, 4096)  # magic, version, size


@contextmanager
def sealed(content: bytes) -> Iterator[int]:
    fd = os.memfd_create("record", os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, content)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
        yield fd
    finally:
        os.close(fd)


@pytest.mark.parametrize("life", ["monitor", "finish", "linger"])
def test_record_that_leads_out_of_itself(conmon_path: Path, life: str) -> None:
    """C4: a record whose texts are not in it is none: conmon starts as usual, and says why not.

    Of 4096 bytes each text of this one is at 0x7f7f7f7f.
    """
    with sealed(HEAD + b"\x7f" * (4096 - len(HEAD) - 1) + b"\0") as fd:
        done = subprocess.run(
            [conmon_path],
            env={"_CONMON_LIFE": f"{life}:{fd}", "PATH": "/nowhere"},
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert b"Container ID not provided" in done.stderr


NOEXEC = Path("/proc/sys/vm/memfd_noexec")
RUNTIME = """#!/bin/sh
sh -c 'read -r _ <go; echo hello; exit 3' &
echo $! >pidfile
"""


@pytest.mark.parametrize("value", [0, 1, 2])
def test_memory_that_cannot_be_executed(conmon_path: Path, tmp_path: Path, value: int) -> None:
    """C4: the host forbids files in memory to be executed (vm.memfd_noexec): a record is one.

    The setting is of a PID namespace.
    """
    if not NOEXEC.exists():
        assert "CI" not in os.environ
        pytest.skip("this kernel has no vm.memfd_noexec (before 6.3)")
    runtime = tmp_path / "runtime"
    runtime.write_text(RUNTIME)
    runtime.chmod(0o755)
    options = "--sync --full-attach -c id -u id -r ./runtime -b . -p pidfile"
    options += " -l k8s-file:log --exit-dir ."
    script = f"echo {value} >{NOEXEC} && exec {conmon_path} {options}"
    os.mkfifo(tmp_path / "go")
    reader, writer = os.pipe()
    with subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"_OCI_SYNCPIPE": str(writer)},
        pass_fds=[writer],
        stdin=subprocess.DEVNULL,
    ) as conmon:
        os.close(writer)
        try:
            with open(reader, "rb") as report:
                assert report.readline().startswith(b'{"pid": ')
                (tmp_path / "go").write_text("go\n")
                assert conmon.wait(60) == 3
        finally:
            conmon.kill()
    assert (tmp_path / "log").read_bytes().endswith(b" stdout F hello\n")
    assert (tmp_path / "id").read_bytes() == b"3"
