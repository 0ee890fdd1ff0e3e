"""The program: what a fault in it would meet (docs/security.md)."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from harness import Container
from harness_build import TOP, run
from harness_os import Deadline

CONMON = TOP / "build" / "conmon"
OBJECT = TOP / "build/meson/conmon-linked.p/meson-generated_conmon__fastio.pyx.c.o"
ANOTHER = not (TOP / "build" / "meson" / "libpython-image.a").exists()
pytestmark = pytest.mark.skipif(ANOTHER, reason="this conmon has no image of the interpreter")


def segments() -> list[list[str]]:
    """The program headers: type, offset, addresses, sizes, then the flags' letters."""
    lines = run("readelf", "--program-headers", "--wide", CONMON).stdout.splitlines()
    return [line.split() for line in lines if re.match(r" +[A-Z_]+ +0x", line)]


def sections() -> dict[str, tuple[int, int]]:
    """Name -> address and size."""
    lines = run("readelf", "--sections", "--wide", CONMON).stdout.splitlines()
    found = [
        re.match(r" +\[ *\d+\] (\S+) +\S+ +([0-9a-f]+) [0-9a-f]+ ([0-9a-f]+)", one) for one in lines
    ]
    return {match[1]: (int(match[2], 16), int(match[3], 16)) for match in found if match}


def test_no_page_is_writable_and_executable() -> None:
    """Security: what can be written is no code, the stack's pages included."""
    flags = {"".join(words[6:-1]) for words in segments()}
    assert "RE" in flags and not [found for found in flags if "W" in found and "E" in found]


def test_addresses_of_functions_are_read_only() -> None:
    """Security: tables of addresses are filled before main() and closed (RELRO, BIND_NOW); what a
    life writes to is not among them."""
    start, size = next(
        (int(words[2], 16), int(words[5], 16)) for words in segments() if words[0] == "GNU_RELRO"
    )
    found = sections()
    assert ".got.plt" not in found
    for name in (".got", ".data.rel.ro", ".init_array", ".fini_array"):
        assert start <= found[name][0] and sum(found[name]) <= start + size
    for name in ("conmon_image", "conmon_data", ".bss", ".sbss.conmon"):
        assert found[name][0] >= start + size


def mappings(pid: int) -> list[tuple[int, int, str]]:
    """Start, end and permissions of each."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, mode, *_ = line.split()
        start, _, end = addresses.partition("-")
        found.append((int(start, 16), int(end, 16), mode))
    return found


def test_interpreter_is_closed_while_the_container_runs(container: Container) -> None:
    """Security: the monitor can neither read nor write nor run anything of the interpreter, whose
    data is in place again for the end."""
    container.fifo("go")
    container.command("read -r _ <go; exit 7")
    container.launch()
    container.started()
    closed = [sections()[name] for name in ("conmon_image", "conmon_python")]
    deadline = Deadline()
    while not all(
        any(start <= at and at + size <= end and mode == "---p" for start, end, mode in found)
        for found in [mappings(container.monitor.pid)]
        for at, size in closed
    ):
        assert not deadline.passed(), mappings(container.monitor.pid)
        time.sleep(0.005)
    container.open_fifo(container.bundle / "go")
    assert container.end() == 7


def test_our_own_code_is_checked() -> None:
    """Security: canaries behind arrays on the stack, bounds of the libc's functions."""
    symbols = run("nm", OBJECT).stdout
    assert "__stack_chk_fail" in symbols and "_chk\n" in symbols
