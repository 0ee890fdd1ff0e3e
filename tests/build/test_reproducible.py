"""The same sources and tools give the same file, wherever they lie."""

from __future__ import annotations

from pathlib import Path

from harness_build import copy_tree, run


def _build(tree: Path) -> bytes:
    run("meson", "setup", "build/meson", cwd=copy_tree(tree))
    run("ninja", "-C", "build/meson", "conmon", cwd=tree)
    return (tree / "build" / "meson" / "conmon").read_bytes()


def test_two_builds_are_equal(tmp_path: Path) -> None:
    """Two builds in two directories have the same bytes."""
    first = _build(tmp_path / "a")
    second = _build(tmp_path / "another directory" / "b")
    assert first == second
    assert bytes(tmp_path) not in first
