"""Paths and names that are not plain ASCII, and locales that cannot say them."""

from pathlib import Path

import pytest

from . import crilog
from .bed import IMAGE
from .client import Podman

ODD = "dïr 日本 $x'y"
LOCALES = ("C", "C.UTF-8")


@pytest.mark.parametrize("locale", LOCALES)
def test_volume(podman: Podman, shared: Path, locale: str) -> None:
    """C1.5: a volume with any name works in any locale."""
    directory = podman.give_directory(shared / ODD)
    podman.give_file(directory / "file", b"content\n")
    result = podman(
        "run", "--rm", "-v", f"{directory}:/v", IMAGE, "cat", "/v/file", env={"LC_ALL": locale}
    )
    assert result.out == b"content\n"


@pytest.mark.parametrize(
    "locale",
    [
        pytest.param("C", marks=pytest.mark.ours("refuses non-ASCII arguments (C20.19)")),
        "C.UTF-8",
    ],
)
def test_log_path(podman: Podman, shared: Path, locale: str) -> None:
    """C20.19: a log path with any name works in any locale."""
    directory = podman.give_directory(shared / ODD)
    log = directory / "lög"
    podman(
        *("run", "--rm", "--log-opt", f"path={log}", IMAGE, "echo", "x"),
        env={"LC_ALL": locale},
    )
    assert crilog.lines(crilog.parse(log.read_bytes())) == [("stdout", b"x")]


@pytest.mark.ours("cuts the log path at a colon (C20.19)")
def test_log_path_with_a_colon(podman: Podman, shared: Path) -> None:
    """C20.19: the log path is everything after the driver's name."""
    log = shared / "a:b.log"
    podman("run", "--rm", "--log-opt", f"path={log}", IMAGE, "echo", "x")
    assert crilog.lines(crilog.parse(log.read_bytes())) == [("stdout", b"x")]


@pytest.mark.parametrize(
    "locale",
    [
        pytest.param("C", marks=pytest.mark.ours("refuses non-ASCII arguments (C20.19)")),
        "C.UTF-8",
    ],
)
def test_bundle(podman: Podman, locale: str) -> None:
    """C20.19: storage, and so bundle, pid files and exit directory, may have any name."""
    with podman.other_storage("ö 本") as options:
        podman(*options, "import", str(podman.bed.image_tar), IMAGE, env={"LC_ALL": locale})
        result = podman(
            *(*options, "run", "--rm", IMAGE, "sh", "-c", "echo out; exit 3"),
            env={"LC_ALL": locale},
            code=3,
        )
        assert (result.out, result.err) == (b"out\n", b"")
        podman.wait_no_monitor()


def test_arguments_and_output(podman: Podman) -> None:
    """C8.3: the container's own arguments and output may be any bytes, in the C locale."""
    name = podman.name()
    podman("run", "--name", name, IMAGE, "echo", "grüße 日本", env={"LC_ALL": "C"})
    assert crilog.lines(podman.log(name)) == [("stdout", "grüße 日本".encode())]
