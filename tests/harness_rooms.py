"""One container's place on disk: directories, control files of the stand-in runtime, options."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from harness_os import Event, Inotify

STANDIN = Path(__file__).resolve().parent / "standin"
CID = "0123456789abcdef"

Option = str | bytes | None | Sequence[str | bytes]


class Rooms:
    """The directories below `root`, all watched, and what conmon is to be told of them.

    `options` may be changed by a test before the start: a value of None is a flag, a list is an
    option that is given several times. `peer` says that a C conmon is under test. `sandbox` is
    the mode of ours where a test does not say another: pytest's --sandbox.
    """

    sandbox: str | None = None

    def __init__(self, root: Path, runtime: Path, peer: bool) -> None:
        self.root = root
        self.peer = peer
        self.runtime = runtime
        for name in ("bundle", "exits", "persist", "logs", "run", "sockets", "tmp", "after"):
            (root / name).mkdir()
        self.bundle = root / "bundle"
        self.exit_file = root / "exits" / CID
        self.persist_exit = root / "persist" / "exit"
        self.log = root / "logs" / "ctr.log"
        self.pidfile = root / "run" / "pidfile"
        self.conmon_pidfile = root / "run" / "conmon.pid"
        self.seen = self.bundle / "seen"
        self.fifo("gate")
        self.options: dict[str, Option] = self._podman()
        self.events: list[Event] = []
        self._inotify = Inotify()
        for name in ("bundle", "exits", "persist", "logs", "run", "after"):
            self._inotify.watch(root / name, name)
        self._allowed: set[str] = set()
        self._close: list[Callable[[], None]] = [self._inotify.close]

    def _podman(self) -> dict[str, Option]:
        options: dict[str, Option] = {
            "--api-version": "1",  # a flag: the 1 is a positional that is ignored (C1.2)
            "-c": CID,
            "-u": "uuid-" + CID,
            "-r": str(self.runtime),
            "-b": str(self.bundle),
            "-p": str(self.pidfile),
            "-n": "name",
            "--exit-dir": str(self.exit_file.parent),
            "--persist-dir": str(self.persist_exit.parent),
            "--full-attach": None,
            "-l": f"k8s-file:{self.log}",
            "--log-level": "warning",
            "--conmon-pidfile": str(self.conmon_pidfile),
        }
        if self.sandbox is not None and not self.peer:
            options["--sandbox"] = self.sandbox
        return options

    def as_crio(self) -> None:
        """Options as CRI-O gives them: api 0, a plain log path, attach through a socket dir."""
        options = self._podman()
        for name in ("--api-version", "--full-attach"):
            del options[name]
        options["-l"] = str(self.log)
        options["--socket-dir-path"] = str(self.root / "sockets")
        self.options = options
        self.peer_leaves("sockets/uuid-" + CID)

    def command(self, fragment: str) -> None:
        """The container process: a shell fragment, run in the bundle."""
        self.put("command", fragment + "\n")

    def put(self, name: str, content: str | bytes) -> None:
        """A control file of the stand-in runtime, or of the container process."""
        data = content if isinstance(content, bytes) else content.encode()
        (self.bundle / name).write_bytes(data)

    def fifo(self, name: str) -> Path:
        """A fifo in the bundle for the runtime or the container process to wait on."""
        os.mkfifo(self.bundle / name)
        return self.bundle / name

    def open_fifo(self, path: Path, line: bytes = b"\n") -> None:
        """Let who waits on a fifo go on. Waits until somebody waits on it.

        The open for both ways never blocks; it closes when the line has been taken out again.
        """
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.on_close(lambda: os.close(fd))
        os.write(fd, line)

    def record(self) -> None:
        """Have the runtime record what it was given in `seen`."""
        self.seen.mkdir()
        self._inotify.watch(self.seen, "seen")

    def exit_command(self, *args: str) -> Path:
        """Give conmon an exit command that records in the directory returned."""
        after = self.root / "after"
        self.options["--exit-command"] = str(STANDIN / "exit-command")
        self.options["--exit-command-arg"] = [str(after), *args]
        return after

    def allow(self, *names: str) -> None:
        """Files (relative to the root) that this test expects to be there at the end."""
        self._allowed.update(names)

    def peer_leaves(self, *names: str) -> None:
        """Files that a C conmon leaves behind by a known fault; ours must not."""
        if self.peer:
            self.allow(*names)

    def on_close(self, action: Callable[[], None]) -> None:
        self._close.append(action)

    def arguments(self, *extra: str | bytes) -> list[str | bytes]:
        words: list[str | bytes] = []
        for name, value in self.options.items():
            if value is None:
                words.append(name)
            elif isinstance(value, (str, bytes)):
                words += [name, value]
            else:
                for each in value:
                    words += [name, each]
        return [*words, *extra]

    # What is there

    def files(self) -> set[str]:
        """All names below the root, relative to it; a directory's name is not given."""
        found: set[str] = set()
        for directory, names, files in os.walk(self.root):
            links = [name for name in names if os.path.islink(os.path.join(directory, name))]
            found |= {os.path.relpath(os.path.join(directory, n), self.root) for n in files + links}
        return found

    def unexpected(self) -> set[str]:
        """Files that are there without being given, expected or allowed."""
        usual = {"bundle/ctl", "bundle/winsz", "logs/ctr.log", "persist/exit", f"exits/{CID}"}
        usual |= {"run/pidfile", "run/conmon.pid"}
        ours = {name for name in self.files() if name.startswith(("bundle/seen/", "after/"))}
        return self.files() - usual - ours - self._allowed
