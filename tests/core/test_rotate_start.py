"""What the launch life makes of the options for rotation and allowlist (C11)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from core.rotation import forward, held, lines, logged, names
from core.test_crilog import model

from conmon import diag


def rotated(log: Path, *arguments: bytes) -> dict[str, int]:
    """Open for rotation, close again: the fields."""
    fields = held(b"-l", os.fsencode(log), b"--log-rotate", b"--log-size-max", b"99", *arguments)
    for name in ("log_fd", "log_dir_fd"):
        if fields[name] >= 0:
            os.close(fields[name])
    return fields


def test_directory_is_held_only_for_rotation(tmp_path: Path) -> None:
    """C11: an fd that most containers do not need is not held for them."""
    fields = held(b"-l", os.fsencode(tmp_path / "log"))
    os.close(fields["log_fd"])
    assert (fields["log_dir_fd"], fields["log_max_files"]) == (-1, 0)
    fields = rotated(tmp_path / "log", b"--log-max-files", b"7")
    assert fields["log_dir_fd"] >= 0
    assert (fields["log_max_files"], fields["log_size_max"]) == (7, 99)


def test_unfinished_rotation_is_repaired(tmp_path: Path) -> None:
    """C20.10: killed before the last rename: the log is missing, the new one has another name."""
    log = tmp_path / "log"
    forward(tmp_path / "log.1", lines(0, 3))
    (tmp_path / "log.new").touch()
    rotated(log)
    assert names(log) == {"log", "log.1"}
    assert logged(log) == model(lines(0, 3))


def test_file_that_is_not_of_a_rotation_stays(tmp_path: Path) -> None:
    """C20.10: conmon's own unfinished file is empty; no other is touched."""
    (tmp_path / "log.new").write_bytes(b"somebody's\n")
    rotated(tmp_path / "log")
    assert (tmp_path / "log.new").read_bytes() == b"somebody's\n"


@pytest.mark.parametrize("kind", ["symlink", "dots", "device"])
def test_log_that_is_not_rotated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    """C11.2: symlinks, paths with `..` and what is no file: a warning, and a log without limit."""
    log = tmp_path / "log"
    why = "its path contains .."
    if kind == "symlink":
        log.symlink_to(tmp_path / "target")
        why = "it is a symbolic link"
    elif kind == "dots":
        (tmp_path / "sub").mkdir()
        log = tmp_path / "sub" / ".." / "log"
    else:
        log = Path("/dev/null")
        why = "it is no regular file"
    fields = rotated(log)
    assert (fields["log_max_files"], fields["log_size_max"], fields["log_dir_fd"]) == (0, 0, -1)
    text = f"[conmon:w]: Log file {log} is not rotated, its size is not limited: {why}\n"
    assert capfd.readouterr().err == text


def allowed(log: Path, *directories: Path) -> bool:
    """Open a log under an allowlist; whether that was allowed."""
    arguments = [word for path in directories for word in (b"--log-allowlist-dir", bytes(path))]
    refusal = b"Log path %b is not below any --log-allowlist-dir" % bytes(log)
    try:
        fields = held(b"-l", bytes(log), *arguments)
    except diag.Fatal as fatal:
        if fatal.args[0] != refusal:
            raise
        return False
    os.close(fields["log_fd"])
    os.close(fields["log_dir_fd"])
    return True


def test_allowlist(tmp_path: Path) -> None:
    """C11.6, C20.10: the log must be below one of the directories; nothing is made elsewhere."""
    good, other = tmp_path / "good", tmp_path / "goodish"
    (good / "sub").mkdir(parents=True)
    other.mkdir()
    assert allowed(good / "log", good)
    assert allowed(good / "log", tmp_path / "absent", good)
    assert allowed(good / "sub" / "log", good)
    assert allowed(good / "log", Path("/"))
    assert allowed(good / "sub" / ".." / "log", good)
    assert not allowed(other / "log", good)
    assert not allowed(good / ".." / "log", good)
    assert not allowed(good / "log", tmp_path / "absent")
    assert not allowed(tmp_path / "good", good / "sub")
    assert not (other / "log").exists()
    assert not (tmp_path / "log").exists()


def test_allowlist_sees_through_symlinks(tmp_path: Path) -> None:
    """C11.6: it is what a path leads to that counts, of log, of parent and of the list."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    (bad / "file").touch()
    (good / "file").touch()
    (good / "out").symlink_to(bad / "file")
    (good / "dir").symlink_to(bad)
    (bad / "in").symlink_to(good / "file")
    (tmp_path / "list").symlink_to(good)
    assert not allowed(good / "out", good)
    assert not allowed(good / "dir" / "new", good)
    assert allowed(bad / "in", good)
    assert allowed(good / "new", tmp_path / "list")
    assert not (bad / "new").exists()


def test_allowlist_and_a_symlink_to_nowhere(tmp_path: Path) -> None:
    """C11.6: a symlink is not a way to make a file elsewhere."""
    good = tmp_path / "good"
    good.mkdir()
    (good / "log").symlink_to(tmp_path / "absent")
    with pytest.raises(diag.Fatal, match="Failed to open log file Too many levels of symbolic"):
        held(b"-l", bytes(good / "log"), b"--log-allowlist-dir", bytes(good))
    assert not (tmp_path / "absent").exists()
