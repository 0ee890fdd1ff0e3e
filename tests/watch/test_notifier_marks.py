"""Runtimes stay watched when their files are replaced; files that come later are watched too."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from harness_watch import ADD, REMOVE, RUNC, Notify, Recorder, Room, wait_until

from conmon.watch.events.marks import walk

Change = Callable[[Path], object]


def put(path: Path) -> None:
    """Put a runtime in a place, or in the place of the one that is there, as packages do."""
    assert RUNC is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name("new")
    shutil.copy(RUNC, new)
    new.rename(path)


def flip(path: Path) -> None:
    """Make the directory that a runtime is in a link to another one."""
    other = path.parent.with_name("other")
    put(other / path.name)
    path.parent.rename(path.parent.with_name("old"))
    link = path.parent.with_name("link")
    link.symlink_to(other)
    link.rename(path.parent)


def make_anew(path: Path) -> None:
    """Remove a file, and make it without a rename: the inode may have the same number."""
    assert RUNC is not None
    path.unlink()
    shutil.copy(RUNC, path)


def marked(helper_pid: int, path: Path) -> bool:
    """Whether the kernel lists a mark of the helper on a file's inode (proc(5), fdinfo)."""
    word = f"ino:{path.stat().st_ino:x} "
    lines: list[str] = []
    for info in Path(f"/proc/{helper_pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # an fd that has just been closed
            lines += info.read_text().splitlines(keepends=True)
    return any(line.startswith("fanotify ino:") and word in line for line in lines)


def seen_to_begin_and_end(room: Room, recorder: Recorder, name: str) -> None:
    room.create(name)
    room.start(name)
    recorder.wait(REMOVE, name)
    assert recorder.of(name) == [ADD, REMOVE]


@pytest.mark.parametrize("change", [put, flip, make_anew])
def test_replaced_runtime(room: Room, notify: Notify, change: Change) -> None:
    """A runtime that takes another one's name is watched, and again when that happens twice."""
    recorder = Recorder()
    notifier = notify(recorder)
    change(room.runtime)
    wait_until(lambda: marked(notifier.helper_pid, room.runtime), "the mark")
    seen_to_begin_and_end(room, recorder, "c1")
    put(room.runtime)
    wait_until(lambda: marked(notifier.helper_pid, room.runtime), "the mark")
    seen_to_begin_and_end(room, recorder, "c2")


def test_runtime_that_comes_later(room: Room, notify: Notify) -> None:
    """Neither the file nor its directory is there at first."""
    recorder = Recorder()
    room.runtime = room.dir / "opt" / "runtimes" / "runc"
    notifier = notify(recorder, runtime_paths=[room.runtime])
    assert notifier.runtimes == ()
    put(room.runtime)
    wait_until(lambda: notifier.runtimes == (str(room.runtime),), "the list of runtimes")
    seen_to_begin_and_end(room, recorder, "c1")


def test_runtime_behind_links(room: Room, notify: Notify) -> None:
    """A link is followed to the file; when it leads elsewhere, that file is watched."""
    recorder = Recorder()
    link = room.dir / "runtime"
    link.symlink_to("bin/runc")
    notifier = notify(recorder, runtime_paths=[link])
    seen_to_begin_and_end(room, recorder, "c1")
    room.runtime = room.dir / "elsewhere" / "runc"
    put(room.runtime)
    new = room.dir / "new"
    new.symlink_to(room.runtime)
    new.rename(link)
    wait_until(lambda: marked(notifier.helper_pid, room.runtime), "the mark")
    seen_to_begin_and_end(room, recorder, "c2")


def test_paths_of_the_environment(
    room: Room, notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RUNTIME_PATH names the runtimes, below HOST_ROOT; absolute links lead into that root."""
    (room.dir / "usr").mkdir()
    (room.dir / "usr" / "runc").symlink_to("/bin/runc")
    monkeypatch.setenv("HOST_ROOT", str(room.dir))
    monkeypatch.setenv("RUNTIME_PATH", "/nowhere/runc:/usr/runc")
    recorder = Recorder()
    notify(recorder, runtime_paths=None)
    seen_to_begin_and_end(room, recorder, "c1")


def test_walk_takes_every_step(tmp_path: Path) -> None:
    """The way has each directory that is looked into, through links and ".."."""
    root = str(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "up").symlink_to("../c")
    (tmp_path / "c").symlink_to("/a/b")
    steps, end = walk(root, "/a/up/./file")
    assert steps == [
        (root, "a"),
        (f"{root}/a", "up"),
        (root, "c"),
        (root, "a"),
        (f"{root}/a", "b"),
        (f"{root}/a/b", "file"),
    ]
    assert end == f"{root}/a/b/file"


def test_walk_ends_in_a_circle_of_links(tmp_path: Path) -> None:
    """Links that lead to themselves are given up."""
    (tmp_path / "a").symlink_to("a")
    steps, end = walk(str(tmp_path), "/a/file")
    assert set(steps) == {(str(tmp_path), "a")}
    assert end == f"{tmp_path}/a"
