"""pip: a source archive, the wheel that is built from it, and what the wheel installs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from harness_build import BIN, VERSION, copy_tree, run


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source archive of the tree as it is now. It is made of a commit, so there is one."""
    tree = copy_tree(tmp_path_factory.mktemp("tree") / "conmon")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    run(*git, "init", "--quiet", cwd=tree)
    run(*git, "add", "--all", cwd=tree)
    run(*git, "commit", "--quiet", "--message", "test", cwd=tree)
    out = tmp_path_factory.mktemp("sdist")
    code = "import mesonpy, sys; mesonpy.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", code, out, cwd=tree)
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def venv(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with nothing in it but the wheel of the source archive."""
    out = tmp_path_factory.mktemp("wheel")
    offline = ["--no-index", "--no-deps"]
    run(BIN / "pip", "wheel", *offline, "--no-build-isolation", "--wheel-dir", out, sdist)
    (wheel,) = out.iterdir()
    directory = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", directory)
    run(BIN / "pip", "--python", directory / "bin" / "python", "install", *offline, wheel)
    return directory


def test_source_archive_is_whole(sdist: Path) -> None:
    """A distribution can build, test and install from the archive alone."""
    top = f"conmon-{VERSION}"
    assert sdist.name == f"{top}.tar.gz"
    with tarfile.open(sdist) as archive:
        names = set(archive.getnames())
    for name in ("LICENSE", "Makefile", "VERSION", "conmon/_fastio.pyx", "tests/conftest.py"):
        assert f"{top}/{name}" in names


def test_binary_works(venv: Path) -> None:
    """bin/conmon is the ELF: it says its version and its help."""
    assert (venv / "bin" / "conmon").read_bytes().startswith(b"\x7fELF")
    said = run(venv / "bin" / "conmon", "--version").stdout
    assert said == f"conmon version {VERSION}\ncommit: unknown\n"
    assert "--exec-process-spec" in run(venv / "bin" / "conmon", "--help").stdout


def test_package_works(venv: Path) -> None:
    """The package has the core as an extension module, and the version of the file VERSION."""
    code = (
        "import conmon._fastio as core, importlib.metadata as metadata;"
        "print(core.__file__, metadata.version('conmon'), core.VERSION_TEXT.decode())"
    )
    file, version, *text = run(venv / "bin" / "python", "-P", "-c", code, cwd=venv).stdout.split()
    assert Path(file).is_relative_to(venv)
    assert version == VERSION
    assert text == ["conmon", "version", VERSION, "commit:", "unknown"]


def test_module_runs_the_binary(venv: Path) -> None:
    """`python -m conmon` is the binary that came with the package."""
    said = run(venv / "bin" / "python", "-P", "-m", "conmon", "--version", cwd=venv).stdout
    assert said == run(venv / "bin" / "conmon", "--version").stdout


def test_conmonctl_is_there(venv: Path) -> None:
    """bin/conmonctl is installed, and says what it needs where the extra is not."""
    done = subprocess.run(
        [venv / "bin" / "conmonctl", "ps"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "conmonctl needs click: pip install 'conmon[ctl]'\n"
    code = "import importlib.metadata as m; print(*m.requires('conmon'))"
    wanted = run(venv / "bin" / "python", "-P", "-c", code, cwd=venv).stdout
    assert "click" in wanted and "rich" in wanted
    # With the libraries of this environment beside it, it works.
    paths = {"PYTHONPATH": ":".join(filter(None, sys.path[1:])), "PATH": "/usr/bin:/bin"}
    said = run(venv / "bin" / "conmonctl", "--version", env=paths).stdout
    assert said == f"conmonctl, version {VERSION}\n"
