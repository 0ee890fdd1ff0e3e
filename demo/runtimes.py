"""The OCI runtimes that the demonstration can use, and whether one works on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from demo import bundle

BARE = "bare"


@dataclass(frozen=True)
class Runtime:
    """An OCI runtime: its program, its global options, and what containers of it are given."""

    name: str
    path: Path
    options: list[str]
    rootfs: Path | None

    @property
    def isolates(self) -> bool:
        """False for the bundled one, which starts ordinary processes of the host."""
        return self.rootfs is not None

    def write_bundle(self, directory: Path, command: list[str]) -> None:
        """Make a bundle for a container that runs `command`."""
        bundle.write(directory, self.rootfs or directory / "rootfs", command)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the runtime to its end, 30 s at most."""
        return subprocess.run(
            [self.path, *self.options, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def complaint(self, directory: Path) -> str:
        """Run a container without conmon: what keeps it from running here, or nothing."""
        probe = directory / "probe"
        self.write_bundle(probe, ["/bin/true"])
        try:
            done = self.call("run", "--bundle", str(probe), "conmon-demo-probe")
        except subprocess.TimeoutExpired as error:
            return str(error)
        if done.returncode == 0:
            return ""
        self.call("delete", "--force", "conmon-demo-probe")
        return (done.stderr or f"exit status {done.returncode}").strip().splitlines()[-1]


def bare(directory: Path) -> Runtime:
    """The bundled runtime. A program of its own, because it is called like any other."""
    program = directory / "bare-runtime"
    source = Path(__file__).with_name("bare_runtime.py").resolve()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{source}" "$@"\n')
    program.chmod(0o755)
    return Runtime(BARE, program, ["--root", str(directory / "state")], None)


def choose(directory: Path, wanted: str | None) -> tuple[Runtime, list[str]]:
    """The runtime to use, and why not those that would have been better.

    `wanted` is a name or path; then no other is tried, and what is wrong with it is a ValueError.
    """
    reasons: list[str] = []
    if wanted != BARE:
        for name in [wanted] if wanted else ["crun", "runc"]:
            found = _isolating(directory, name)
            if isinstance(found, Runtime):
                return found, reasons
            reasons.append(f"{name}: {found}")
            if wanted:
                raise ValueError(reasons[0])
    return bare(directory), reasons


def _isolating(directory: Path, name: str) -> Runtime | str:
    """A runtime that works here, or why it does not."""
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return "not installed"
    busybox = bundle.find_busybox()
    if busybox is None:
        return "there is no static busybox to fill a container with"
    rootfs = directory / "rootfs"
    if not rootfs.exists():
        bundle.make_rootfs(rootfs, busybox)
    options = ["--root", str(directory / "state")]
    if Path(program).name == "crun":
        options.append("--cgroup-manager=disabled")
    runtime = Runtime(name, Path(program), options, rootfs)
    return runtime.complaint(directory) or runtime
