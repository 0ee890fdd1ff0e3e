"""The test image: busybox and its applets, as a tar file that ``podman import`` takes.

``python3 image.py OUT.tar`` writes one by hand. Nothing is pulled from anywhere.
"""

import io
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

DIRECTORIES = ("bin", "dev", "etc", "lib", "proc", "root", "sys", "tmp")
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"


def _add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = mode
    tar.addfile(info, io.BytesIO(data))


def _libraries(program: Path) -> list[Path]:
    """The shared libraries and the loader of ``program``, as ldd names them."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    return [Path(name) for name in re.findall(r"(/\S+) \(0x", listing.stdout)]


def build_image(out: Path, programs: tuple[str, ...] = ("stty",)) -> None:
    """Write the image's root file system to ``out`` as a tar file.

    ``programs`` are dynamic programs of this machine that go in with their libraries, in
    place of the applet of that name: busybox's stty fails on a terminal of size 0x0.
    Raises FileNotFoundError when busybox or one of ``programs`` is not installed.
    """
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox is not installed (package busybox-static)")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    with tarfile.open(out, "w") as tar:
        for name in DIRECTORIES:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            info.mode = 0o1777 if name == "tmp" else 0o755
            tar.addfile(info)
        _add_file(tar, "etc/passwd", PASSWD, 0o644)
        _add_file(tar, "bin/busybox", Path(busybox).read_bytes(), 0o755)
        _add_file(tar, "bin/not-executable", b"#!/bin/sh\n", 0o644)
        for applet in applets.stdout.split():
            if applet in ("busybox", *programs):
                continue
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type = tarfile.SYMTYPE
            info.linkname = "busybox"
            tar.addfile(info)
        seen: set[str] = set()
        for program in programs:
            path = shutil.which(program)
            if path is None:
                raise FileNotFoundError(f"{program} is not installed")
            _add_file(tar, f"bin/{program}", Path(path).read_bytes(), 0o755)
            for library in _libraries(Path(path)):
                if str(library) not in seen:
                    seen.add(str(library))
                    _add_file(tar, str(library).lstrip("/"), library.read_bytes(), 0o755)


if __name__ == "__main__":
    build_image(Path(sys.argv[1]))
