"""What somebody puts in the place of a name that conmon is about to use, and what that leads to."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

_SECRET = b"of somebody else\n"


def _aside(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, path + ".aside")


def _to_file(path: str, outside: Path) -> None:
    os.symlink(outside / "file", path)


def _to_nothing(path: str, outside: Path) -> None:
    os.symlink(outside / "new", path)


def _to_directory(path: str, outside: Path) -> None:
    os.symlink(outside / "directory", path)


def _to_fifo(path: str, outside: Path) -> None:
    os.symlink(outside / "fifo", path)


def _hard_link(path: str, outside: Path) -> None:
    os.link(outside / "file", path)


def _fifo(path: str, outside: Path) -> None:
    os.mkfifo(path)


def _directory(path: str, outside: Path) -> None:
    os.mkdir(path)


def _nothing(path: str, outside: Path) -> None:
    pass


def _no_parent(path: str, outside: Path) -> None:
    _aside(os.path.dirname(path))


#: What takes the place of a name.
KINDS: dict[str, Callable[[str, Path], None]] = {
    "link-to-file": _to_file,
    "link-to-nothing": _to_nothing,
    "link-to-directory": _to_directory,
    "link-to-fifo": _to_fifo,
    "hard-link": _hard_link,
    "fifo": _fifo,
    "directory": _directory,
    "nothing": _nothing,
    "no-parent": _no_parent,
}


def outside_of(root: str) -> Path:
    """Where what must not be touched is."""
    return Path(root + ".outside")


def remove_outside(root: str) -> None:
    """Take all that away."""
    for place in (outside_of(root), Path(root + ".aside")):
        shutil.rmtree(place, ignore_errors=True)


def swap(path: str, kind: str, root: str) -> None:
    """Put something else in the place of a name below the root."""
    _aside(path)
    KINDS[kind](path, outside_of(root))


def put_back(root: str) -> None:
    """Have directories and logs as the harness expects them: it looks at them, and may wait."""
    aside = [Path(root + ".aside"), *sorted(Path(root + ".aside").rglob("*.aside"))]
    aside += sorted(Path(root).rglob("*.aside"))
    for path in reversed(aside):  # what is below a directory comes before it
        own = path.with_suffix("")
        if os.path.lexists(path) and not os.path.lexists(own):
            path.rename(own)
    for path in Path(root).rglob("ctr.log*"):
        if path.is_fifo():
            path.unlink()


def make_outside(root: str) -> None:
    """Files of all kinds that somebody else has."""
    outside = outside_of(root)
    (outside / "directory").mkdir(parents=True)
    for name in ("file", "directory/file"):
        (outside / name).write_bytes(_SECRET)
        (outside / name).chmod(0o640)
    os.mkfifo(outside / "fifo", 0o640)
    os.mkfifo(outside / "directory" / "fifo", 0o640)


def look_outside(root: str) -> dict[str, str]:
    """Each name there with what it is: kind and modes, owner, content."""
    outside = outside_of(root)
    found = {}
    for path in [outside, *sorted(outside.rglob("*"))]:
        status = path.lstat()
        text = f"{stat.filemode(status.st_mode)} {status.st_uid} {status.st_gid}"
        if stat.S_ISREG(status.st_mode):
            text += f" {path.read_bytes()!r}"
        found[os.path.relpath(path, outside)] = text
    return found
