"""Processes held by pidfd, and how they ended, though they are not our children."""

from __future__ import annotations

import fcntl
import os
import struct

from conmon.host import procfs

# struct pidfd_info as of Linux 6.15, 64 bytes; the mask comes first, the wait status last
_GET_INFO = 0xC040_FF0B
_INFO_EXIT = 0x8
_INFO_SIZE = 64


def open_process(pid: int, start_time: int | None = None) -> int:
    """Open a pidfd of the process that began at `start_time`. ProcessLookupError."""
    fd = os.pidfd_open(pid)
    try:
        if start_time is not None and procfs.stat(pid).start != start_time:
            raise ProcessLookupError(3, f"pid {pid} is another process by now")
    except BaseException:
        os.close(fd)
        raise
    return fd


def wait_status(fd: int, pid: int, start_time: int, privileged: bool) -> int | None:
    """The wait(2) status of a process whose pidfd is readable; None while it cannot be known.

    A zombie's is in /proc, for who is `privileged` (CAP_SYS_PTRACE): others read 0 there. Of a
    process that was reaped the kernel tells from 6.15 on.
    """
    try:
        stat = procfs.stat(pid)
        if stat.start == start_time and stat.state == "Z" and (privileged or stat.exit_code):
            return stat.exit_code
    except OSError:
        pass  # it was reaped
    info = bytearray(struct.pack("@Q", _INFO_EXIT).ljust(_INFO_SIZE, b"\0"))
    try:
        fcntl.ioctl(fd, _GET_INFO, info)
    except OSError:
        return None
    mask, status = struct.unpack("@Q52xi", info)
    return int(status) if mask & _INFO_EXIT else None
