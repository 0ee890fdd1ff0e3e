"""OCI bundles for the demonstration: a root file system of busybox, and config.json.

Format: the OCI runtime specification, "Filesystem Bundle" and "Configuration".
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

_PROGRAM_HEADER_INTERP = 3


def find_busybox() -> Path | None:
    """A busybox that needs no shared library, or None."""
    for name in ("busybox.static", "busybox"):
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/bin:/usr/bin:/sbin")
        if found and _is_static(Path(found)):
            return Path(found)
    return None


def _is_static(program: Path) -> bool:
    """True for an ELF file (64 bit, little endian) that asks for no dynamic loader (elf(5))."""
    data = program.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        return False
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    kinds = (struct.unpack_from("<I", data, offset + size * n)[0] for n in range(count))
    return _PROGRAM_HEADER_INTERP not in kinds


def make_rootfs(rootfs: Path, busybox: Path) -> None:
    """Fill a directory with what a shell in a container needs."""
    for name in ("bin", "dev", "proc"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy(busybox, rootfs / "bin" / "busybox")
    for applet in ("sh", "sleep", "true", "uname"):
        (rootfs / "bin" / applet).symlink_to("busybox")


def write(bundle: Path, rootfs: Path, command: list[str]) -> None:
    """Write a bundle whose container runs `command`; an existing config.json is replaced.

    The container has the host's network. As an ordinary user it has a user namespace in which
    that user is root.
    """
    namespaces = ["pid", "mount", "ipc", "uts"]
    linux: dict[str, Any] = {}
    if os.geteuid() != 0:
        namespaces.append("user")
        for key, host_id in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
            linux[key] = [{"containerID": 0, "hostID": host_id, "size": 1}]
    linux["namespaces"] = [{"type": kind} for kind in namespaces]
    options = ["nosuid", "noexec", "nodev"]
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": command,
            "env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": str(rootfs), "readonly": True},
        "hostname": "demo",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": options},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "mode=755", "size=64k"],
            },
        ],
        "linux": linux,
    }
    bundle.mkdir(exist_ok=True)
    (bundle / "config.json").write_text(json.dumps(config, indent=1))
