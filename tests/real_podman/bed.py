"""The test bed: private namespaces, the conmon under test, the image."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .image import build_image
from .wait import until

HOLDER = Path(__file__).with_name("holder.py")
IMAGE = "localhost/testbed"


@dataclass(frozen=True)
class Process:
    """A process inside the bed; ``pid`` as the bed's PID namespace counts."""

    pid: int
    argv: list[str]
    exe: str


class Bed:
    """A directory, and a PID and a mount namespace that all commands of the tests enter.

    Paths mean the same inside and outside, except under /proc, /run, /dev/shm and
    /var/lib/containers. Pids differ: use ``proc()`` to look at one.
    """

    def __init__(self, conmon: Path, sandbox: str | None = None) -> None:
        # Short, because podman refuses a rootless run directory of more than 50 characters;
        # open to all, because the rootless user works in it.
        self.dir = Path(tempfile.mkdtemp(prefix="cmt-", dir="/tmp"))
        self.dir.chmod(0o755)
        try:
            self._set_up(conmon)
            self._wrap(sandbox)
        except BaseException:
            shutil.rmtree(self.dir)
            raise

    def _wrap(self, sandbox: str | None) -> None:
        """What podman is to call: conmon, or a script that adds the option that podman has not."""
        self.called = self.conmon
        if sandbox is not None:
            self.called = self.conmon.with_name("conmon-with-sandbox")
            words = f'exec {self.conmon} "$@" --sandbox={sandbox}'
            self.called.write_text(f"#!/bin/sh\n{words}\n")
            self.called.chmod(0o755)

    def _set_up(self, conmon: Path) -> None:
        # A copy, because the build tree may be out of the rootless user's reach.
        self.conmon = self.dir / "bin" / "conmon"
        self.conmon.parent.mkdir()
        shutil.copy(conmon, self.conmon)
        # Pages that are not on the disk yet would count as the monitor's own memory.
        subprocess.run(["sync", self.conmon], check=True)
        self.conmon.chmod(0o755)
        self.image_tar = self.dir / "image.tar"
        build_image(self.image_tar)
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child",
             "--propagation", "private", sys.executable, str(HOLDER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout is not None
        line = self._holder.stdout.readline()
        if not line:
            raise RuntimeError("the namespaces could not be made: see standard error")
        self.init_pid = int(line)

    def close(self) -> None:
        """End all that runs in the bed, and remove its directory."""
        assert self._holder.stdin is not None and self._holder.stdout is not None
        self._holder.stdin.close()
        try:
            self._holder.wait(timeout=30)
        finally:
            self._holder.kill()
            self._holder.wait()
            self._holder.stdout.close()
            shutil.rmtree(self.dir)

    def enter(self, cwd: Path) -> list[str]:
        """The words that run a command inside the bed, with ``cwd`` as its directory."""
        target = str(self.init_pid)
        return ["nsenter", "--mount", "--pid", f"--wd={cwd}", "--target", target, "--"]

    def proc(self, pid: int | str) -> Path:
        """The /proc directory of a process of the bed, reached from outside."""
        return Path(f"/proc/{self.init_pid}/root/proc/{pid}")

    def processes(self) -> list[Process]:
        """Every process in the bed but its init; zombies are left out."""
        found = []
        for entry in self.proc("").iterdir():
            if not entry.name.isdigit() or entry.name == "1":
                continue
            try:
                argv = (entry / "cmdline").read_bytes()
                exe = os.readlink(entry / "exe")
            except OSError:
                continue  # gone meanwhile, or a zombie: it has no exe
            words = argv.rstrip(b"\0").decode(errors="surrogateescape").split("\0")
            found.append(Process(int(entry.name), words, exe))
        return found

    def monitors(self) -> list[Process]:
        """Every live process that runs the conmon under test."""
        path = str(self.conmon)
        return [p for p in self.processes() if path in (p.exe, p.argv[0])]

    def run(self, *argv: str) -> bytes:
        """Run a command as root in the bed, and return its standard output."""
        command = [*self.enter(Path("/")), *argv]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout

    def kill(self, pid: int, signal: str = "KILL") -> None:
        """Send ``signal`` to a process of the bed."""
        self.run("kill", f"-{signal}", str(pid))

    def kill_tree(self, pid: int) -> None:
        """Kill a process of the bed and all that descend from it."""
        pending, tree = [pid], []
        while pending:
            tree.append(pending.pop())
            for task in self.proc(tree[-1]).glob("task/*/children"):
                pending += map(int, task.read_text().split())
        for member in tree:
            self.kill(member)

    def wait_gone(self, pid: int, what: str) -> None:
        """Wait until no process of the bed has this pid."""
        until(lambda: not self.proc(pid).exists(), f"{what} (pid {pid}) to end")
