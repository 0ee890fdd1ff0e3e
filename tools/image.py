"""Put the interpreter's image into the ELF: image.py LINKED OUTPUT

Runs LINKED, which has room for an image (see conmon/_image.pyx), and writes OUTPUT: the same file
with the image in the room. Exit status 1, and no OUTPUT, if that cannot be done.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SECTION = b"conmon_image"
WORD = struct.Struct("=Q")
SECONDS = 60
ATTEMPTS = 20


def find_section(elf: bytes, name: bytes) -> tuple[int, int]:
    """Offset and size in bytes of a section of a 64-bit ELF file. LookupError."""
    if elf[:5] != b"\x7fELF\x02":
        raise LookupError("not a 64-bit ELF file")
    order = "<" if elf[5] == 1 else ">"
    (table,) = struct.unpack_from(order + "Q", elf, 0x28)
    size, count, names_index = struct.unpack_from(order + "HHH", elf, 0x3A)
    headers = [
        # name, type, flags, address, offset, size
        struct.unpack_from(order + "IIQQQQ", elf, table + number * size)
        for number in range(count)
    ]
    names = headers[names_index][4]
    for header in headers:
        start = names + header[0]
        if elf[start : elf.index(b"\0", start)] == name:
            return header[4], header[5]
    raise LookupError(f"no section {name.decode()}")


def made_by(linked: Path) -> bytes:
    """The image that LINKED makes of itself. OSError, subprocess.SubprocessError."""
    done = subprocess.run(
        [linked.absolute()],
        env={"_CONMON_MAKE_IMAGE": "1"},  # nothing of this build's environment may get into it
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
        timeout=SECONDS,
    )
    return done.stdout


def what_is_common(one: bytes, other: bytes) -> bytes:
    """Two images of the same ELF as one, with words of zeros where they differ.

    What differs is of the process that made it, and dead: thread ids, addresses of its stack in
    frames that have returned, random keys. Address space randomisation tells it from the rest.
    """
    if len(one) != len(other):
        raise LookupError(f"one has {len(one)} bytes, another {len(other)}")
    length = len(one) // WORD.size
    common = struct.Struct(f"={length}Q")
    pairs = zip(common.unpack(one), common.unpack(other), strict=True)
    return common.pack(*(word if word == second else 0 for word, second in pairs))


def made_alike(make: Callable[[], bytes]) -> bytes:
    """What three images have in common, if any two of them have the same. LookupError.

    A word that differs in one of three only is none of those: it may be an instruction that was
    specialised for this process alone, where a thread's id has one digit less, say. A zero there
    would break the interpreter. Such runs are rare, and are not used.
    """
    for _ in range(ATTEMPTS):
        one, two, three = make(), make(), make()
        common = what_is_common(one, two)
        if common == what_is_common(two, three) == what_is_common(one, three):
            return common
    raise LookupError("no three images are alike")


def texts(binary: Path) -> list[bytes]:
    """What the Python part of a conmon says, where it needs no container."""
    asked: list[list[str]] = [["--help"], ["--version", "--sync"], ["--no-such-option"], []]
    found = []
    for words in asked:
        command = [str(binary.absolute()), *words]
        run = subprocess.run(command, check=False, capture_output=True, timeout=SECONDS)
        found.append(b"%d %b %b" % (run.returncode, run.stdout, run.stderr))
    return found


def main(linked: str, output: str) -> int:
    elf = bytearray(Path(linked).read_bytes())
    try:
        offset, size = find_section(bytes(elf), SECTION)
        image = made_alike(lambda: made_by(Path(linked)))
        if len(image) != size:
            raise LookupError(f"it has {len(image)} bytes, the section {size}")
        elf[offset : offset + size] = image
        Path(output).write_bytes(elf)
        os.chmod(output, 0o755)
        if texts(Path(output)) != texts(Path(linked)):
            raise LookupError("conmon does not work with it")
    except (LookupError, OSError, subprocess.SubprocessError) as error:
        Path(output).unlink(missing_ok=True)
        print(f"No image of the interpreter: {error}", file=sys.stderr)
        print("-Dimage=disabled builds a conmon that starts its interpreter", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
