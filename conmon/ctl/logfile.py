"""Reading a log that is written to: through rotation, replacement and truncation.

The file is read in order, whole records only. When its name has gone to another file, what is
left in the old one is read first, then the files that were in between, one after the other: a
rotation renames the log to `.1`, that to `.2` and so on, from the oldest down. So what followed a
file has the next lower number, or the lowest of them moved on while we looked; and what is seen is
right only if the file itself has not moved meanwhile.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Self

_CHUNK = 1 << 16
# how often the log may be rotated while we look for a file
_TRIES = 1000


class LogFile:
    """One open file of a log."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "it is no regular file")
        self.identity = about.st_dev, about.st_ino
        self.number = 0  # of the rotated files, when we last looked; see Log
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

    def successor(self) -> LogFile | None:
        """The file that followed the one at hand, which nothing is written to any more.

        None if there is none yet: until something is in a file that has the log's name, whoever
        made it may not have told the monitor. Of a file that is not there any more, under no
        number, it is that of the name. The caller closes it. OSError if that cannot be read.
        """
        for _ in range(_TRIES):
            place = self._place(self.file)
            if place == 0:
                return None
            below = [number for number in self._numbers() if number < (place or 0)]
            found = self._first([*reversed(below), 0])
            if found is None:  # it is being rotated again
                return None
            # Upwards, as files go: none that came to lie between the two escapes us.
            passed = [number for number in below if number > found.number]
            if place is None or (
                not any(map(self._identity, passed)) and self._is_at(self.file, place)
            ):
                if found.number or found.size():
                    return found
                found.close()
                return None
            found.close()
        return None

    def backups(self) -> list[LogFile]:
        """The files that came before the one at hand, oldest first. The caller closes them."""
        found: list[LogFile] = []
        while (file := self._predecessor(found[0] if found else self.file)) is not None:
            found.insert(0, file)
        return found

    def _predecessor(self, file: LogFile) -> LogFile | None:
        """The file that came before another; None if there is none, or the other has gone."""
        for _ in range(_TRIES):
            place = self._place(file)
            if place is None:
                return None
            found = self._first(self._upwards(place))
            if self._is_at(file, place):
                return found
            if found is not None:
                found.close()
        return None

    def _place(self, file: LogFile) -> int | None:
        """The number of a file, 0 where it has the log's name; None if it has none of these.

        Numbers only grow: what is looked for upwards, from where it was last, is not missed.
        """
        if file.number == 0 and self._is_at(file, 0):
            return 0
        for number in self._upwards(max(file.number - 1, 0)):
            if self._is_at(file, number):
                file.number = number
                return number
        return None

    def _first(self, numbers: Iterable[int]) -> LogFile | None:
        """Open the first of these that is there. OSError if the log itself cannot be opened."""
        for number in numbers:
            try:
                file = LogFile.open(self.directory, self._name(number))
            except FileNotFoundError:
                continue
            except OSError:
                if number == 0:
                    raise
                continue
            file.number = number
            return file
        return None

    def _name(self, number: int) -> str:
        return f"{self.name}.{number}" if number else self.name

    def _identity(self, number: int) -> tuple[int, int] | None:
        try:
            about = os.stat(self._name(number), dir_fd=self.directory)
        except OSError:
            return None
        return about.st_dev, about.st_ino

    def _is_at(self, file: LogFile, number: int) -> bool:
        return self._identity(number) == file.identity

    def _upwards(self, last: int) -> Iterator[int]:
        """The numbers above `last` that have a file, or may have one by the time it is opened."""
        while numbers := [number for number in self._numbers() if number > last]:
            for last in numbers:
                yield last

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
