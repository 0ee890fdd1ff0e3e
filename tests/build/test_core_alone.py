"""The core must be able to live without an interpreter: it links without libpython."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from harness_build import TOP, run

MESON = TOP / "build" / "meson"
# The executable's, by its name with an image of the interpreter or without.
LINKED = "conmon-linked.p" if (MESON / "conmon-linked").exists() else "conmon.p"
CORE = MESON / LINKED / "conmon" / "_fastio.pyx.c"
# The lives that run without an interpreter, reachable but not entered.
MAIN = """\
int conmon_monitor(void *record, char **argv);
int conmon_linger(void *record);
int main(int argc, char **argv)
{
    return argc < 99 ? 0 : conmon_monitor(argv, argv) + conmon_linger(argv);
}
"""


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Words that link a program of the core's two lives: object files and linker options."""
    assert CORE.is_file(), f"no {CORE}: run make"
    directory = tmp_path_factory.mktemp("core")
    (directory / "main.c").write_text(MAIN)
    include = sysconfig.get_path("include")
    flags = ["-O2", "-w", "-D_GNU_SOURCE", "-ffunction-sections", "-fdata-sections"]
    includes = [f"-I{path}" for path in (TOP, MESON, include)]
    run("cc", *flags, *includes, "-c", CORE, "-o", directory / "core.o")
    run("cc", "-c", directory / "main.c", "-o", directory / "main.o")
    return [str(directory / "main.o"), str(directory / "core.o"), "-Wl,--gc-sections"]


def test_no_python_symbol_is_left(core: list[str], tmp_path: Path) -> None:
    """Linked without libpython, the core asks for nothing of it."""
    program = tmp_path / "program"
    run("cc", *core, "-Wl,--unresolved-symbols=ignore-all", "-o", program)
    undefined = run("nm", "--undefined-only", program).stdout.split()
    assert [name for name in undefined if name.startswith(("Py", "_Py"))] == []


def test_program_of_the_core_runs(core: list[str], tmp_path: Path) -> None:
    """Linked without libpython, and with every symbol found, the core loads."""
    program = tmp_path / "program"
    run("cc", *core, "-o", program)
    run(program)
