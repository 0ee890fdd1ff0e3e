"""The counters of a running monitor, as docs/counters.md lays them out."""

from __future__ import annotations

import os
import struct
from pathlib import Path

_HEAD = struct.Struct("=QIIIII")
_MAGIC = 0x434F4E4D4F4E5243
_VERSION = 1
_LINK = "/memfd:conmon-counters"
_LARGEST = 1 << 20
#: What the bits of the counter `sandbox` stand for, from the lowest on.
SANDBOX = ("nnp", "caps", "landlock", "seccomp")


def parse(record: bytes) -> dict[str, int]:
    """The counters of a record by name, in its order. ValueError if it is none."""
    if len(record) < _HEAD.size:
        raise ValueError("too short for a record of conmon")
    magic, version, size, at, count, names_at = _HEAD.unpack_from(record)
    if magic != _MAGIC or version != _VERSION:
        raise ValueError("not a record of conmon, or of a version that is not known")
    end = record.find(b"\0", names_at)
    if size != len(record) or end < 0 or at + 8 * count > len(record):
        raise ValueError("the record is cut short")
    names = record[names_at:end].decode("ascii").split()
    if len(names) != count:
        raise ValueError("the record has not as many names as counters")
    return dict(zip(names, struct.unpack_from(f"={count}Q", record, at), strict=True))


def sandbox(counters: dict[str, int]) -> list[str] | None:
    """What a monitor has given up for its time with the container; None if it does not tell."""
    bits = counters.get("sandbox")
    return None if bits is None else [name for i, name in enumerate(SANDBOX) if bits & 1 << i]


def read(pid: int) -> dict[str, int] | None:
    """The counters of a monitor; None if it publishes none, as a C conmon does not.

    The memory is found among its fds: the link in the bundle names it by pid, and that is
    another one in another PID namespace. PermissionError unless the monitor may be traced.
    """
    directory = Path(f"/proc/{pid}/fd")
    for name in sorted(os.listdir(directory), key=int):
        try:
            if os.readlink(directory / name).startswith(_LINK):
                return parse((directory / name).read_bytes()[:_LARGEST])
        except (FileNotFoundError, ValueError):
            continue
    return None
