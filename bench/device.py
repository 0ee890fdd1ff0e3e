"""A null device in a place of our own, for logs that cost no file system."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.bench import CannotMeasureError


@contextmanager
def null_device(directory: Path) -> Iterator[Path]:
    """A node like /dev/null. CannotMeasureError where this user may not make or open one."""
    path = directory / "null"
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise CannotMeasureError(f"a null device is needed: {error.strerror}") from None
    try:
        yield path
    finally:
        path.unlink()
