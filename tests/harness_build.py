"""What the tests of building and installing share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CONMON = TOP / "build" / "conmon"
VERSION = (TOP / "VERSION").read_text().strip()
TIMEOUT_S = 900


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, without what an outer make or pytest put in.

    The programs that are installed beside this Python come first in PATH.
    """
    left_out = ("MAKE", "MFLAGS", "PYTEST", "PYTHON", "DESTDIR", "PREFIX", "BINDIR", "LIBEXECDIR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, "PATH": f"{BIN}:{kept['PATH']}", **changes}


def run(
    *argv: str | Path, cwd: Path = TOP, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; AssertionError with what it said, if it fails."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=environment() if env is None else env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{argv} ends with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


def copy_tree(destination: Path) -> Path:
    """Copy the sources, as they are now and without what was built: the new top directory."""
    if (TOP / ".git").exists():
        listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        for name in filter(None, listed.stdout.split("\0")):
            if (TOP / name).is_file():
                (destination / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(TOP / name, destination / name)
    else:
        ignored = shutil.ignore_patterns("build", "__pycache__", ".*_cache", ".hypothesis")
        shutil.copytree(TOP, destination, ignore=ignored)
        # the pattern also hits the tests of the build
        shutil.copytree(TOP / "tests" / "build", destination / "tests" / "build")
    return destination
