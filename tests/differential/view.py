"""What a caller can see of a conmon, as lines of text that do not change from run to run.

What differs from run to run has a name in its place: ROOT (the test's directory), CONMON, PID (of
the container), MONITOR (conmon's own), TIME (a log record's), XXXXXX (a random part of a name), FD
or N (the number of an fd).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from harness import Container
from harness_log import RECORD, Record, records
from harness_os import Event
from harness_proc import listed_fds, open_fds, signals, status, words

#: Control files that the stand-ins and the tests make while conmon runs.
NOT_CONMONS = re.compile(r"(run/(stdout|stderr|trace)|bundle/(seen/.*|tty|by-test.*)|after/.*)$")
#: The names of temporary files are random: `exit.a1B2c3`, and of console sockets.
RANDOM = re.compile(r"(?<=[\w]\.)[A-Za-z0-9]{6}(?![\w.])")
#: Variables that hold the number of an fd.
PIPES = re.compile(r"(_OCI_\w+PIPE)=\d+")
FD = re.compile(r"/fd/\d+$")
#: Many bytes of one kind are shown as `x{6000}`.
RUN = re.compile(r"(.)\1{39,}")
#: Anonymous objects have numbers.
OBJECT = re.compile(r"(pipe|socket):\[\d+\]")
KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket",
}  # fmt: skip


class View:
    """Looks at one container's surroundings, and takes out what differs from run to run."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self._given = self._fingerprints()

    def begin(self) -> None:
        """What is there from here on is given by the test, unless it changes."""
        self._given = self._fingerprints()

    def _fingerprints(self) -> dict[str, tuple[int, int, int]]:
        found = {}
        for name in self.container.files():
            about = (self.container.root / name).lstat()
            whole = stat.S_ISREG(about.st_mode)  # a fifo's time is that of its last use
            found[name] = (about.st_ino, about.st_size, about.st_mtime_ns if whole else 0)
        return found

    def text(self, data: bytes | str) -> str:
        """Any text with the names of this run taken out."""
        if isinstance(data, bytes):
            data = data.decode("utf-8", "backslashreplace")
        container = self.container
        for path, name in (
            (container.root, "ROOT"),
            (container.conmon, "CONMON"),
            (container.runtime.parent, "STANDIN"),
        ):
            data = data.replace(str(path), name).replace(str(path).replace("/", "\\/"), name)
        uuid = str(container.options.get("-u", "no uuid"))
        data = data.replace(uuid, "UUID").replace(uuid[:-1], "UUID-CUT")
        data = RANDOM.sub("XXXXXX", data)
        return RUN.sub(lambda run: f"{run[1]}{{{len(run[0])}}}", data)

    def pids(self) -> dict[int, str]:
        """The pids that are known by now, and their names."""
        found = {}
        for path, name in (
            (self.container.conmon_pidfile, "MONITOR"),
            (self.container.pidfile, "PID"),
        ):
            try:
                found[int(path.read_bytes())] = name
            except (OSError, ValueError):
                continue
        return found

    def numbers(self, data: bytes | str) -> str:
        """A text in which the known pids are numbers of their own."""
        text = self.text(data)
        for pid, name in self.pids().items():
            text = re.sub(rf"(?<!\d){pid}(?!\d)", name, text)
        return text

    def files(self) -> list[str]:
        """What was made or changed below the root: name, kind, mode, content of short files."""
        found = []
        for name, mark in sorted(self._fingerprints().items()):
            if self._given.get(name) != mark and not NOT_CONMONS.match(name):
                found.append(f"{self.text(name)} {self._description(name)}")
        return found

    def _description(self, name: str) -> str:
        path = self.container.root / name
        mode = path.lstat().st_mode
        text = f"{KINDS[stat.S_IFMT(mode)]} {stat.S_IMODE(mode):04o}"
        if stat.S_ISLNK(mode):
            return f"link to {FD.sub('/fd/N', self.numbers(os.readlink(path)))}"
        if stat.S_ISREG(mode) and not name.startswith("logs/"):
            content = path.read_bytes()
            shown = self.numbers(content) if len(content) < 200 else f"{len(content)} bytes"
            text += f" {shown!r}" if len(content) < 200 else f" {shown}"
        return text

    def logs(self) -> list[str]:
        """All logs, stream by stream: how two streams mix, and where a line is cut, is left open.

        A line that is not finished says so.
        """
        shown = []
        for path in sorted((self.container.root / "logs").iterdir()):
            if path.is_file():
                shown += [f"{path.name}: {line}" for line in self._log(path.read_bytes())]
        return shown

    def _log(self, data: bytes) -> Iterable[str]:
        if not RECORD.match(data):
            return [repr(data)] if data else []
        found = records(data)
        return [
            f"TIME {stream} {line!r}"
            for stream in ("stdout", "stderr")
            for line in _joined([record for record in found if record.stream == stream])
        ]

    def events(self, *directories: str) -> list[str]:
        """What happened to names in directories, in its order."""
        shown = []
        for event in self.container.events:
            name = f"{event.directory}/{event.name}"
            if event.directory in directories and not NOT_CONMONS.match(name):
                shown += self._event(event, name)
        return shown

    def _event(self, event: Event, name: str) -> list[str]:
        if event.what in ("MODIFY", "CLOSE_WRITE"):
            return []
        return [f"{event.what} {self.text(name)}"]

    def words(self, path: Path) -> list[str]:
        """A recorded argv or environment."""
        return [PIPES.sub(r"\1=FD", self.numbers(word)) for word in words(path)]

    def fds(self, path: Path) -> list[str]:
        """A recorded table of fds. Where the caller's pipes are is the test's own doing."""
        found = listed_fds(path).items()
        targets = [(fd, OBJECT.sub(r"\1", self.text(target))) for fd, target in sorted(found)]
        return [f"{fd if fd < 3 else 'FD'} {target}" for fd, target in targets]

    def signals(self, path: Path) -> list[str]:
        """Which signals are blocked and ignored, in a recorded /proc/PID/status."""
        fields = status(path)
        return [f"{name} {sorted(signals(fields[name]))}" for name in ("SigBlk", "SigIgn")]

    def process(self, pid: int) -> list[str]:
        """What others see of a process: name, argv, directory, stdio, session."""
        proc = Path(f"/proc/{pid}")
        fds = open_fds(pid)
        return [
            f"name {self.name(proc / 'comm')}",
            *(f"argument {word}" for word in self.words(proc / "cmdline")),
            *(f"{fd} {self.text(fds.get(fd, 'closed'))}" for fd in range(3)),
            f"session leader {os.getsid(pid) == pid}",
        ]

    def name(self, path: Path) -> str:
        """A recorded name of conmon's: 15 bytes of its file's, or `conmon`, whatever that is."""
        name = path.read_text().strip()
        return "conmon" if name == self.container.conmon.name[:15] else name

    def umask(self, path: Path) -> str:
        return "umask " + status(path)["Umask"]


def _joined(found: list[Record]) -> Iterable[bytes]:
    """Lines; the last one without a newline if it was not finished."""
    line = b""
    for record in found:
        line += record.data
        if record.tag == "F":
            yield line + b"\n"
            line = b""
    if line:
        yield line
