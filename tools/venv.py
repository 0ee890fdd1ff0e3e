"""Make or complete a virtual environment: venv.py DIRECTORY GROUP...

A group is a list of requirements in pyproject.toml: `build` is what the build needs, any other
name is one of the optional dependencies. What is there already is left alone, unless another
Python or another place of the directory makes it useless.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(group: str) -> list[str]:
    """The requirements of one group. KeyError if there is none of that name."""
    project = tomllib.loads(PROJECT.read_text())
    if group == "build":
        # the build backend fetches ninja by itself, but only where it is the one that builds
        return [*project["build-system"]["requires"], "ninja"]
    found: list[str] = project["project"]["optional-dependencies"][group]
    return found


def make(directory: Path) -> None:
    """Make the environment, unless there is one of this Python in this place."""
    key = f"{directory}\n{sys.base_prefix}\n{sys.version}\n"
    stamp = directory / "made-by"
    if stamp.is_file() and stamp.read_text() == key:
        return
    print(f"making {directory.name} with Python {sys.version.split()[0]}", flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    stamp.write_text(key)


def install(directory: Path, group: str) -> None:
    """Install a group, unless the very same list was installed before."""
    wanted = requirements(group)
    stamp = directory / f"installed-{group}"
    key = "\n".join(wanted)
    if stamp.is_file() and stamp.read_text() == key:
        return
    print(f"installing into {directory.name}: {', '.join(wanted)}", flush=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", *wanted], check=True)
    stamp.write_text(key)


def main(directory: str, *groups: str) -> int:
    place = Path(directory).absolute()
    try:
        make(place)
        for group in groups:
            install(place, group)
    except subprocess.CalledProcessError as error:
        print(f"Failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
