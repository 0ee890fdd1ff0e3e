"""make install, podman, crio and uninstall: where the file goes, and how it gets there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from harness_build import CONMON, run

DEFAULTS = {
    "install": "usr/local/bin/conmon",
    "podman": "usr/local/libexec/podman/conmon",
    "crio": "usr/local/libexec/crio/conmon",
}


def _files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize(("target", "path"), DEFAULTS.items())
def test_destination(tmp_path: Path, target: str, path: str) -> None:
    """Each target installs the one file, under DESTDIR, with PREFIX /usr/local."""
    run("make", target, f"DESTDIR={tmp_path}")
    assert _files(tmp_path) == {path}
    installed = tmp_path / path
    assert installed.read_bytes() == CONMON.read_bytes()
    assert installed.stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    ("target", "variables", "path"),
    [
        ("install", ["PREFIX=/usr"], "usr/bin/conmon"),
        ("podman", ["PREFIX=/usr"], "usr/libexec/podman/conmon"),
        ("crio", ["PREFIX=/opt/a b"], "opt/a b/libexec/crio/conmon"),
        ("install", ["PREFIX=/usr", "BINDIR=/sbin"], "sbin/conmon"),
        ("podman", ["LIBEXECDIR=/usr/lib"], "usr/lib/podman/conmon"),
        ("crio", ["PREFIX=/opt", "LIBEXECDIR=/usr/lib"], "usr/lib/crio/conmon"),
    ],
)
def test_variables(tmp_path: Path, target: str, variables: list[str], path: str) -> None:
    """PREFIX, BINDIR and LIBEXECDIR are honoured, and so is uninstall with the same ones."""
    run("make", target, f"DESTDIR={tmp_path}", *variables)
    assert _files(tmp_path) == {path}
    run("make", "uninstall", f"DESTDIR={tmp_path}", *variables)
    assert _files(tmp_path) == set()


def test_running_conmon_keeps_its_file(tmp_path: Path) -> None:
    """An upgrade does not touch the file that a running conmon was started from."""
    installed = tmp_path / DEFAULTS["install"]
    installed.parent.mkdir(parents=True)
    installed.write_bytes(b"the old one")
    with installed.open("rb") as held:
        run("make", "install", f"DESTDIR={tmp_path}")
        assert held.read() == b"the old one"
        assert os.fstat(held.fileno()).st_nlink == 0
    assert _files(tmp_path) == {DEFAULTS["install"]}
    assert installed.stat().st_size > 1000
