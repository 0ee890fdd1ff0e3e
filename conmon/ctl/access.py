"""Opening what belongs to a monitor, with failures in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from conmon.ctl.errors import CtlError, NoSuchContainer, NotPermitted
from conmon.ctl.monitors import Monitor


@contextlib.contextmanager
def explained(monitor: Monitor, doing: str) -> Iterator[None]:
    """Turn an OSError of what is done with a monitor into words. `doing`: "read the log of"."""
    try:
        yield
    except PermissionError as error:
        raise NotPermitted(
            f"cannot {doing} {monitor.label}: {error.strerror}",
            f"its monitor belongs to uid {monitor.uid}; use that user, or root",
        ) from error
    except OSError as error:
        if not monitor.alive():
            raise NoSuchContainer(f"{monitor.label} has ended") from error
        raise CtlError(f"cannot {doing} {monitor.label}: {error.strerror}") from error
