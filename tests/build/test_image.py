"""The interpreter's image: what is put into the ELF of what the interpreter has made."""

from __future__ import annotations

import importlib.util
import os
import stat
import struct
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
from harness_build import TOP, run


@pytest.fixture(scope="module")
def image() -> ModuleType:
    spec = importlib.util.spec_from_file_location("image", TOP / "tools" / "image.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(*numbers: int) -> bytes:
    return struct.pack(f"={len(numbers)}Q", *numbers)


def making(runs: Iterator[bytes]) -> Callable[[], bytes]:
    return lambda: next(runs)


def test_what_is_of_one_process_is_left_out(image: ModuleType) -> None:
    """Words that are another in each run are zeros, all others are there."""
    runs = iter([words(7, i, 8, 100 - i) for i in range(3)])
    assert image.made_alike(making(runs)) == words(7, 0, 8, 0)


@pytest.mark.parametrize("place", range(3))
def test_a_run_that_went_another_way_is_not_used(image: ModuleType, place: int) -> None:
    """An instruction that one run has specialised in another way never becomes a zero."""
    made = [words(7, i, 8) for i in range(6)]
    made[place] = words(7, 50, 9)
    runs = iter(made)
    assert image.made_alike(making(runs)) == words(7, 0, 8)
    assert next(runs, None) is None


def test_no_image_where_no_runs_are_alike(image: ModuleType) -> None:
    """Nothing is made up: without three runs that agree there is no image."""
    runs = (words(1, 1 + i // 2) for i in range(1000))
    with pytest.raises(LookupError, match="no three images are alike"):
        image.made_alike(making(runs))


def test_unlike_images(image: ModuleType) -> None:
    """Images of unlike length have nothing in common: the build says so."""
    with pytest.raises(LookupError, match="8 bytes, another 16"):
        image.what_is_common(words(1), words(1, 2))


def test_what_outlives_an_interpreter_is_not_in_the_image() -> None:
    """The process that was started may still stand on its stack when the image is thrown away."""
    linked = TOP / "build" / "meson" / "conmon-linked"
    listed = run("nm", linked).stdout.splitlines()
    at = {words[-1]: int(words[0], 16) for words in map(str.split, listed) if len(words) == 3}
    assert not at["conmon_image_start"] <= at["conmon_leaver"] < at["conmon_image_end"]
    assert at["conmon_image_start"] <= at["conmon_image_heap"] < at["conmon_image_end"]


def test_what_can_be_written_is_one_segment() -> None:
    """Valgrind reads no symbols where another one has no bytes in the file, and so counts wrong."""
    lines = run("readelf", "-lW", TOP / "build" / "conmon").stdout.splitlines()
    loaded = [line.split() for line in lines if line.split()[:1] == ["LOAD"]]
    assert [row[6] for row in loaded].count("RW") == 1
    assert all(int(row[4], 16) > 0 for row in loaded)


@pytest.mark.skipif(os.geteuid() != 0, reason="changes the inode of /dev/null, as root only can")
def test_nothing_of_the_machine_is_in_it(image: ModuleType) -> None:
    """Two builds are equal: times and inodes of files that the making looks at are not in it.

    Runtimes give /dev/null to a container's user, and so it gets another time of change.
    """
    linked = TOP / "build" / "meson" / "conmon-linked"
    before = image.made_alike(lambda: image.made_by(linked))
    os.chmod("/dev/null", stat.S_IMODE(os.stat("/dev/null").st_mode))
    assert image.made_alike(lambda: image.made_by(linked)) == before
