"""Requests to a monitor through its ctl fifo: `1 ROWS COLUMNS` and `2 0 0`, a line each."""

from __future__ import annotations

import errno
import os
import stat

from conmon.ctl import access
from conmon.ctl.errors import CtlError
from conmon.ctl.monitors import Monitor

#: The most rows or columns that a monitor takes.
SIZE_LIMIT = 1000


def resize(monitor: Monitor, rows: int, columns: int) -> None:
    """Set the size of the container's terminal. CtlError if it has none, or takes no request."""
    if not monitor.options.terminal:
        raise CtlError(f"{monitor.label} has no terminal")
    _request(monitor, b"1 %d %d\n" % (rows, columns), "resize")


def reopen(monitor: Monitor) -> None:
    """Ask for a new log of the same name. CtlError if the monitor takes no request."""
    _request(monitor, b"2 0 0\n", "reopen the log of")


def _request(monitor: Monitor, line: bytes, doing: str) -> None:
    if monitor.bundle is None or monitor.log_plan.passthrough:
        raise CtlError(f"cannot {doing} {monitor.label}: its monitor takes no requests")
    # Without waiting: nobody may be at the other end any more.
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
    with access.explained(monitor, doing):
        fd = os.open(monitor.reach(monitor.bundle + b"/ctl"), flags)
        try:
            if not stat.S_ISFIFO(os.fstat(fd).st_mode):
                raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
            os.write(fd, line)  # whole, or EAGAIN: it is shorter than PIPE_BUF
        finally:
            os.close(fd)
