"""A place for real containers, run by a copy of runc: only that copy is ever watched."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness_os import TIMEOUT_S, Deadline, Process, wait_fd

from conmon.host import procfs
from conmon.watch import ContainerEvent, ContainerNotifier, EventType

RUNC = shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin")
BUSYBOX = shutil.which("busybox")
STAGE = Path(__file__).resolve().parent.parent / "build" / "stage"
CLASSIC_CONMON = Path("/usr/bin/conmon")

EXECVE = ("59", "221", "11")  # on x86-64, on arm64 and what came after it, on others

Notify = Callable[..., ContainerNotifier]

ADD = EventType.ADD_CONTAINER
REMOVE = EventType.REMOVE_CONTAINER
PRE_CREATE = EventType.PRE_CREATE_CONTAINER


_rooms = itertools.count()


class Room:
    """Bundles, a runtime and its state below one directory. `out` is /out in the containers."""

    def __init__(self, directory: Path) -> None:
        assert RUNC is not None and BUSYBOX is not None
        self.dir = directory
        # cgroups are the whole machine's, and ids are the same in every room
        self._cgroup = f"conmon-watch-{os.getpid()}-{next(_rooms)}"
        self.state = directory / "state"
        self.out = directory / "out"
        self.runtime = directory / "bin" / "runc"
        self.rootfs = directory / "rootfs"
        self.out.mkdir()
        self.runtime.parent.mkdir()
        shutil.copy(RUNC, self.runtime)
        for name in ("bin", "dev", "proc", "out"):
            (self.rootfs / name).mkdir(parents=True)
        shutil.copy(BUSYBOX, self.rootfs / "bin" / "busybox")
        for applet in ("sh", "sleep", "true"):
            (self.rootfs / "bin" / applet).symlink_to("busybox")

    def bundle(self, name: str, script: str, **more: Any) -> Path:
        """A bundle whose container runs a script of sh; `more` is put into config.json."""
        bundle = self.dir / "bundles" / name
        bundle.mkdir(parents=True)
        config: dict[str, Any] = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": ["/bin/sh", "-c", script],
                "env": ["PATH=/bin"],
                "cwd": "/",
            },
            "root": {"path": str(self.rootfs), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                # not in the root directory, which several containers share
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {
                    "destination": "/out",
                    "type": "none",
                    "source": str(self.out),
                    "options": ["bind"],
                },
            ],
            "linux": {
                "cgroupsPath": f"{self._cgroup}-{name}",
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
            },
        }
        (bundle / "config.json").write_text(json.dumps(config | more))
        return bundle

    def words(self, *words: str | Path) -> list[str]:
        """A command line of the runtime."""
        return [str(self.runtime), "--root", str(self.state), *map(str, words)]

    def _behind_shell(self, *words: str | Path) -> list[str]:
        """The same behind a shell, which is not held.

        Until Python 3.11.4 subprocess keeps the interpreter's lock until the child has executed
        its program: if that is held, a notifier in this process could not answer.
        """
        return ["/bin/sh", "-c", 'exec "$@"', "sh", *self.words(*words)]

    def runc(
        self, *words: str | Path, cwd: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the runtime to its end, which must be a good one."""
        # files, because a container keeps a pipe open that it inherits
        with open(self.dir / "runc.log", "ab") as log:
            done = subprocess.run(
                self._behind_shell(*words),
                cwd=cwd,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=4 * TIMEOUT_S,  # many at once end all at the end
                check=False,
            )
        assert done.returncode == 0, (done, (self.dir / "runc.log").read_bytes()[-500:])
        return done

    @contextmanager
    def begin(self, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run the runtime beside the test."""
        with open(self.dir / "runc.log", "ab") as log:
            process = subprocess.Popen(
                self._behind_shell(*words), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait(TIMEOUT_S)

    def create(self, name: str, script: str = "true", **more: Any) -> int:
        """Create a container without a monitor: its pid."""
        bundle = self.bundle(name, script, **more)
        self.runc("create", "--bundle", bundle, "--pid-file", bundle / "pid", name)
        return int((bundle / "pid").read_text())

    def monitored(
        self, conmon: Path, name: str, script: str, human_name: str = "", **more: Any
    ) -> int:
        """Create a container under a conmon, as podman does: its pid."""
        bundle = self.bundle(name, script, **more)
        ours, theirs = os.pipe()
        words: list[str | Path] = [
            conmon, "--api-version", "1", "-c", name, "-u", name, "-r", self.runtime,
            "-b", bundle, "-p", bundle / "pid", "-n", human_name or name,
            "--exit-dir", bundle, "-l", f"k8s-file:{bundle / 'log'}",
            "--socket-dir-path", bundle, "--runtime-arg", "--root", "--runtime-arg", self.state,
        ]  # fmt: skip
        try:
            subprocess.run(
                words,
                env={**os.environ, "_OCI_SYNCPIPE": str(theirs)},
                pass_fds=[theirs],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                timeout=TIMEOUT_S,
                check=True,
            )
            os.close(theirs)
            assert wait_fd(ours, Deadline()), f"{conmon} says nothing"
            report = json.loads(os.read(ours, 4096))
        finally:
            os.close(ours)
        pid = report["data"]
        assert pid > 0, report
        return int(pid)

    def start(self, name: str) -> None:
        """Run a container's entry point."""
        self.runc("start", name)

    def close(self) -> None:
        """End all containers, by the runtime that nobody watches."""
        assert RUNC is not None
        for name in os.listdir(self.state) if self.state.exists() else []:
            words = [RUNC, "--root", str(self.state), "delete", "--force", name]
            subprocess.run(words, timeout=TIMEOUT_S, check=False)


class Listener:
    """A process of its own that has a notifier; `words` as in watch/listener.py.

    `wrapper` is a command that ends in an exec of its arguments.
    """

    def __init__(self, room: Room, *words: str, wrapper: Sequence[str] = ()) -> None:
        script = Path(__file__).with_name("watch") / "listener.py"
        self._process = subprocess.Popen(
            [*wrapper, sys.executable, str(script), str(room.runtime), *words],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(STAGE)},
        )
        self.pid = self._process.pid
        try:
            pid, self.mode = self.line().split()
            self.helper = Process(int(pid))
        except BaseException:
            self.__exit__()
            raise

    def line(self) -> str:
        """Its next line."""
        assert self._process.stdout is not None
        assert wait_fd(self._process.stdout.fileno(), Deadline()), "the listener says nothing"
        return self._process.stdout.readline().decode().rstrip("\n")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever has happened."""
        self._process.kill()
        self._process.communicate(timeout=TIMEOUT_S)
        if hasattr(self, "helper"):
            self.helper.wait_gone()
            self.helper.close()


def is_held(pid: int) -> bool:
    """Whether a process sleeps in execve."""
    number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return number in EXECVE and procfs.stat(pid).state == "D"


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what sends no event."""
    deadline = Deadline()
    while not condition():
        assert not deadline.passed(), f"waited in vain for {what}"
        time.sleep(0.01)


class Recorder:
    """A callback that keeps what it was called with, and may do more.

    `only`: it passes over containers that have another name.
    """

    def __init__(
        self, action: Callable[[ContainerEvent], object] = lambda event: None, only: str = ""
    ) -> None:
        self._only = only
        self.events: list[ContainerEvent] = []
        self._action = action
        self._changed = threading.Condition()

    def __call__(self, event: ContainerEvent) -> None:
        if self._only not in ("", event.container_name):
            return
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()
        self._action(event)

    def of(self, container_id: str) -> list[EventType]:
        """The types of a container's events up to now."""
        return [event.type for event in list(self.events) if event.container_id == container_id]

    def wait(self, kind: EventType, container_id: str) -> ContainerEvent:
        """Wait for a container's event."""
        return self.wait_count(kind, 1, container_id)[0]

    def wait_count(
        self, kind: EventType, count: int, container_id: str | None = None
    ) -> list[ContainerEvent]:
        """Wait until there are `count` events of a kind; those of one container, or of all."""

        def found() -> list[ContainerEvent]:
            return [
                event
                for event in self.events
                if event.type is kind and container_id in (None, event.container_id)
            ]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= count, 4 * TIMEOUT_S):
                raise AssertionError(f"no {count} {kind.name} of {container_id}: {self.events}")
            return found()
