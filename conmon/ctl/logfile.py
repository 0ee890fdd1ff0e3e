"""Reading a log that is written to: through rotation, replacement and truncation.

The file is read in order, whole records only. When its name has gone to another file, what is
left in the old one is read first, then the files that were in between: a rotation renames the
log to `.1`, that to `.2` and so on, so they are those with a lower number than ours has now.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from typing import Self

_CHUNK = 1 << 16


class LogFile:
    """One open file of a log."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "it is no regular file")
        self.identity = about.st_dev, about.st_ino
        self._at = 0  # behind the last record that was given

    @classmethod
    def open(cls, directory: int, name: str) -> Self:
        """Open a file by its name in an open directory. OSError; a device or fifo is refused."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        return cls(os.open(name, flags, dir_fd=directory))

    def seek(self, offset: int) -> None:
        """Go on at an offset at which a record begins."""
        self._at = offset

    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self.fd).st_size

    def read(self) -> Iterator[list[bytes]]:
        """The records that were not given yet, up to the end, in batches and without newlines.

        A file that has become smaller begins anew. Of a record that is not whole yet nothing is
        kept: a monitor takes it back, and writes another one in its place, when the disk is full.
        """
        while text := self._whole_records():
            self._at += len(text)
            yield text[:-1].split(b"\n")

    def _whole_records(self) -> bytes:
        """The next records, with their newlines; nothing at the end."""
        if self.size() < self._at:
            self._at = 0
        text = b""
        while data := os.pread(self.fd, _CHUNK, self._at + len(text)):
            end = data.rfind(b"\n") + 1
            if end:
                return text + data[:end]
            text += data
        return b""

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)


class Log:
    """A log by its name: the file that has the name, and how to get from one to the next."""

    def __init__(self, path: str) -> None:
        """Open the log. OSError."""
        directory, self.name = os.path.split(path)
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        self.directory = os.open(directory or ".", flags)
        try:
            self.file = LogFile.open(self.directory, self.name)
        except OSError:
            os.close(self.directory)
            raise

    def close(self) -> None:
        """Close all."""
        self.file.close()
        os.close(self.directory)

    def newcomer(self) -> os.stat_result | None:
        """The file that the name has gone to; None while it is ours, or nothing has it."""
        try:
            about = os.stat(self.name, dir_fd=self.directory)
        except OSError:
            return None
        return None if (about.st_dev, about.st_ino) == self.file.identity else about

    def successors(self) -> list[LogFile]:
        """The files that follow the one at hand, oldest first; the last has the log's name now.

        Those that are not there any more are left out. The caller closes them. OSError if the
        last one cannot be read.
        """
        named = []
        with contextlib.suppress(FileNotFoundError):  # it is being rotated again
            # first of all: those that it is rotated away for are younger, and found later
            named = [LogFile.open(self.directory, self.name)]
        younger, older = self._backups(named)
        for file in older:
            file.close()
        return younger + named

    def backups(self) -> list[LogFile]:
        """The files that came before the one at hand, oldest first. The caller closes them."""
        younger, older = self._backups([])
        for file in younger:
            file.close()
        return older

    def _backups(self, known: list[LogFile]) -> tuple[list[LogFile], list[LogFile]]:
        """The rotated files but those known, oldest first: those after the one at hand, and before.

        It is among them itself only if it was rotated since it was opened.

        Files may be rotated meanwhile. Their numbers only grow, so who goes up the numbers misses
        none, but meets some twice; and a number has no file for a moment, or has one only now.
        """
        younger: list[LogFile] = []
        older: list[LogFile] = []
        seen = {file.identity for file in known}
        last = 0
        while numbers := [number for number in self._numbers() if number > last]:
            for last in numbers:
                with contextlib.suppress(OSError):
                    file = LogFile.open(self.directory, f"{self.name}.{last}")
                    if file.identity in seen or file.identity == self.file.identity:
                        file.close()
                    else:
                        (older if self.file.identity in seen else younger).insert(0, file)
                    seen.add(file.identity)
        return (younger, older) if self.file.identity in seen else ([], younger)

    def _numbers(self) -> list[int]:
        """Of the rotated files, and the next ones. 1 is the youngest."""
        pattern = re.compile(re.escape(self.name) + r"\.([1-9]\d{0,8})")
        listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.directory)
        try:
            names = os.listdir(listing)
        finally:
            os.close(listing)
        found = {int(match[1]) for name in names if (match := pattern.fullmatch(name))}
        return sorted(found | {number + 1 for number in found})
