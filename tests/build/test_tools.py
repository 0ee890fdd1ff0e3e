"""The scripts that set a machine up for the build."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness_build import TOP, environment, run

# What tools/deps.sh itself needs; nothing else of the machine is seen by it here.
COMMANDS = ("cat", "env", "grep", "mktemp", "rm", "sed", "sh", "xargs")
MANAGERS = {
    "apt": ("apt-get", "dpkg-query", ["update"]),
    "dnf": ("dnf", "rpm", []),
    "apk": ("apk", "apk", ["update"]),
}


class Machine:
    """A PATH with a package manager that writes down its command lines. Nothing is installed."""

    def __init__(self, directory: Path, manager: str, uid: int) -> None:
        self.directory = directory
        self.calls = directory / "calls"
        install, query, _ = MANAGERS[manager]
        directory.mkdir()
        for name in COMMANDS:
            (directory / name).symlink_to(str(shutil.which(name)))
        for name in (install, query):
            log = f'echo "{name} $*" >>"{self.calls}"'
            self._script(name, log, 'case "$*" in -W* | *--whatprovides* | info*) exit 1 ;; esac')
        self._script("id", f"echo {uid}")
        self._script("apt-cache", "echo '  Candidate: 3.11.2-1'", "echo '  Depends: clang-14'")

    def _script(self, name: str, *lines: str) -> None:
        (self.directory / name).write_text("\n".join(["#!/bin/sh", *lines, ""]))
        (self.directory / name).chmod(0o755)

    def deps(self, what: str) -> subprocess.CompletedProcess[str]:
        """Run tools/deps.sh on this machine."""
        return subprocess.run(
            ["/bin/sh", TOP / "tools" / "deps.sh", what],
            env={"PATH": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.mark.parametrize("manager", MANAGERS)
def test_packages_are_installed(manager: str, tmp_path: Path) -> None:
    """make deps: root gets the packages, after the package lists where those are separate."""
    machine = Machine(tmp_path / "bin", manager, 0)
    done = machine.deps("test")
    assert done.returncode == 0, done.stderr
    install, _, update = MANAGERS[manager]
    calls = [call.split() for call in machine.calls.read_text().splitlines()]
    acts = [call for call in calls if call[0] == install and "info" not in call]
    assert [word for call in acts[:-1] for word in call if word == "update"] == update
    assert {"gcc", "make", "podman", "crun", "runc"} <= set(acts[-1])


@pytest.mark.parametrize("manager", MANAGERS)
def test_compiler_of_the_fuzz_targets_is_installed(manager: str, tmp_path: Path) -> None:
    """make deps WHAT=fuzz: a clang, and the library that libFuzzer is in."""
    machine = Machine(tmp_path / "bin", manager, 0)
    done = machine.deps("fuzz")
    assert done.returncode == 0, done.stderr
    last = machine.calls.read_text().splitlines()[-1].split()
    assert {"gcc", "clang", "libclang-rt-14-dev" if manager == "apt" else "compiler-rt"} <= set(
        last
    )


@pytest.mark.parametrize("manager", MANAGERS)
def test_cross_compiler_is_installed(manager: str, tmp_path: Path) -> None:
    """make deps WHAT=arm64: compiler and emulators, or a word that they are not known here."""
    machine = Machine(tmp_path / "bin", manager, 0)
    done = machine.deps("arm64")
    if manager != "apt":
        assert done.returncode == 1
        assert "arm64" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    last = machine.calls.read_text().splitlines()[-1].split()
    assert {"gcc-aarch64-linux-gnu", "qemu-user-static", "qemu-system-arm", "make"} <= set(last)


@pytest.mark.parametrize("manager", MANAGERS)
def test_without_root_the_command_is_printed(manager: str, tmp_path: Path) -> None:
    """make deps: without root nothing is tried, and the words to say as root are there."""
    machine = Machine(tmp_path / "bin", manager, 1000)
    done = machine.deps("build")
    assert done.returncode == 3
    assert MANAGERS[manager][0] in done.stderr
    assert " gcc " in done.stderr
    calls = machine.calls.read_text().splitlines()
    assert not [call for call in calls if " gcc make" in call or "update" in call]


def test_unknown_set_of_packages() -> None:
    """make deps WHAT=...: a set that there is not is named."""
    done = subprocess.run(
        [TOP / "tools" / "deps.sh", "lunch"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'lunch'" in done.stderr


def test_python_that_will_do() -> None:
    """make PYTHON=...: one that has everything is taken as it is."""
    assert run(TOP / "tools" / "find-python.sh", sys.executable).stdout.strip() == sys.executable


def of_version(*version: object) -> str:
    """A script for a Python that says that it is of this version."""
    code = f"import sys; sys.version_info = {version}"
    return f'[ "$1" = -c ] && exec "{sys.executable}" -c "{code}\n$2"'


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "There is no"),
        (of_version(3, 9, 2, "final", 0), "is only version 3.9"),
        (of_version(3, 15, 0, "alpha", 1), "is version 3.15, which conmon was not tried with"),
        ("exit 7", "does not work"),
    ],
)
def test_python_that_will_not_do(tmp_path: Path, script: str | None, reason: str) -> None:
    """make PYTHON=...: the message says why not, and names `make deps`."""
    python = tmp_path / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    done = subprocess.run(
        [TOP / "tools" / "find-python.sh", python], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert reason in done.stderr
    assert "make deps" in done.stderr


def test_environment_is_kept_until_it_is_moved(tmp_path: Path) -> None:
    """The virtual environment is made once, and again when its directory has another name."""
    script = TOP / "tools" / "venv.py"
    run(sys.executable, script, "first", cwd=tmp_path)
    (tmp_path / "first" / "kept").touch()
    assert run(sys.executable, script, "first", cwd=tmp_path).stdout == ""
    assert (tmp_path / "first" / "kept").exists()
    (tmp_path / "first").rename(tmp_path / "second")
    run(sys.executable, script, "second", cwd=tmp_path)
    assert not (tmp_path / "second" / "kept").exists()
    run(tmp_path / "second" / "bin" / "pip", "--version", env=environment())


def test_unused_cimports(tmp_path: Path) -> None:
    """make lint: what a .pxd file cimports must be used in its code."""
    path = tmp_path / "x.pxd"
    path.write_text(
        '"""Of strlen and errno."""\n'
        "from libc.errno cimport errno\n"
        "from libc.string cimport (  # strcpy\n"
        "    memcpy, memset as fill,\n"
        "    strlen,\n"
        ")\n\n"
        "cdef inline void clear(char* text) noexcept nogil:\n"
        "    fill(text, 0, 1)  # memcpy\n"
    )
    tool = TOP / "tools" / "unused_cimports.py"
    done = subprocess.run(
        [sys.executable, tool, path], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    where = [line.removeprefix(f"{path}:").split()[:2] for line in done.stdout.splitlines()]
    assert where == [["2:", "'errno'"], ["4:", "'memcpy'"], ["5:", "'strlen'"]]
