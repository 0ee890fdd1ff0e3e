"""How a container ended, from the exit file that its monitor writes."""

from __future__ import annotations

import contextlib
import os
import select
import time
from types import TracebackType
from typing import Self

from conmon.ctl.monitors import Monitor
from conmon.host.inotify import Inotify, Mask

_WRITTEN = Mask.CREATE | Mask.MOVED_TO | Mask.CLOSE_WRITE
#: A container that is killed may need a moment, in seconds.
_DYING = 1.0


class Ending:
    """Watches for the exit file; begun before the end, since it may be removed soon after it."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._name = monitor.options.cid or b""
        self._changes = Inotify()
        self._directory = self._pidfd = self._container = -1
        directory = monitor.options.exit_dir
        if directory is not None:
            with contextlib.suppress(OSError):
                flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
                self._directory = os.open(monitor.reach(directory), flags)
                self._changes.add_fd(self._directory, _WRITTEN)
        with contextlib.suppress(OSError):
            self._pidfd = os.pidfd_open(monitor.pid)
        with contextlib.suppress(OSError):
            self._container = os.pidfd_open(monitor.container_pid or -1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._changes.fd)
        for fd in (self._directory, self._pidfd, self._container):
            if fd >= 0:
                os.close(fd)

    def container_lives(self) -> bool:
        """Whether the container runs on, as far as that is known."""
        return self._container >= 0 and not _readable([self._container], _DYING)

    def status(self, seconds: float) -> int | None:
        """Wait so long for the container's exit status; None if nobody tells it."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self._pidfd < 0 or _readable([self._pidfd], 0)
            if (status := self._read()) is not None:
                return status
            left = deadline - time.monotonic()
            if ended or self._directory < 0 or left <= 0:
                return None
            _readable([self._changes.fd, self._pidfd], left)
            self._changes.read()

    def _read(self) -> int | None:
        if self._directory < 0:
            return None
        try:
            fd = os.open(self._name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        except OSError:
            return None
        with open(fd, "rb") as file:
            try:
                return int(file.read(16))
            except ValueError:
                return None


def _readable(fds: list[int], seconds: float) -> bool:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
