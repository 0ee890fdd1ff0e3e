"""A reader of a running monitor's counters, as docs/counters.md describes them."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from harness import Container
from harness_os import Deadline


def read_counters(container: Container) -> dict[str, int]:
    """All counters of a running monitor by their names.

    Waits for them: the caller is told of a start before the monitor's life begins.
    """
    return decode_counters(container.wait_file(container.bundle / "conmon-counters"))


def decode_counters(record: bytes) -> dict[str, int]:
    """All counters by their names; AssertionError where the layout is not the described one."""
    magic, version, size, at, count, names_at = struct.unpack_from("QIIIII", record)
    assert magic == 0x434F4E4D4F4E5243
    assert version == 1
    assert size == len(record)
    names = record[names_at : record.index(b"\0", names_at)].decode().split()
    assert len(names) == count
    return dict(zip(names, struct.unpack_from(f"{count}Q", record, at), strict=True))


def wait_counters(container: Container, enough: Callable[[dict[str, int]], bool]) -> None:
    """Wait until the counters satisfy `enough`. Polled: memory has no event."""
    deadline = Deadline()
    while not enough(read_counters(container)):
        assert not deadline.passed(), f"{read_counters(container)}{container.state()}"
        time.sleep(0.002)
