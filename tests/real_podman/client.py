"""podman as a caller sees it: one command at a time, in one of the four combinations."""

import contextlib
import glob
import itertools
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import crilog
from .bed import IMAGE, Bed, Process
from .user import TestUser
from .wait import until

TIMEOUT_S = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CONTAINERS_CONF = """\
[containers]
netns = "host"
log_driver = "k8s-file"
# root without CAP_SYS_RESOURCE may not set podman's own defaults.
default_ulimits = ["nofile=1024:1024", "nproc=5000:5000"]

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "{runtime}"
conmon_path = ["{conmon}"]
tmp_dir = "{dir}/tmp"
"""

STORAGE_CONF = """\
[storage]
driver = "{driver}"
{place} = "{dir}/graph"
runroot = "{dir}/run"
"""


@dataclass(frozen=True)
class Result:
    """What a command left: exit code and the bytes of both streams."""

    argv: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Standard output without its last newline."""
        return self.out.decode().rstrip("\n")


class Podman:
    """podman with its own storage, run directory and configuration.

    ``user`` None is root. Everything lies under ``dir``.
    """

    _names = itertools.count(1)

    def __init__(self, bed: Bed, runtime: str, user: TestUser | None) -> None:
        self.bed = bed
        self.runtime = runtime
        self.user = user
        self.dir = bed.dir / f"{runtime}-{'rootless' if user else 'root'}"
        self.tmp_dir = self.dir / "tmp"
        self._configs = itertools.count(1)
        self.dir.mkdir()
        for name in ("home", "xdg", "shared"):
            self.give_directory(self.dir / name)
        self.give(self.dir)
        # podman 4 takes no notice of graphroot without root, the newest warns where both are set
        driver, place = ("vfs", "rootless_storage_path") if user else ("overlay", "graphroot")
        storage = STORAGE_CONF.format(driver=driver, place=place, dir=self.dir)
        (self.dir / "storage.conf").write_text(storage)
        self._config = CONTAINERS_CONF.format(runtime=runtime, conmon=bed.called, dir=self.dir)
        self._environment = self.config("")
        self("import", "--change", 'CMD ["/bin/sh"]', str(bed.image_tar), IMAGE)

    def give(self, path: Path) -> Path:
        """Make the combination's user the owner of ``path``."""
        if self.user is not None:
            os.chown(path, self.user.uid, self.user.gid, follow_symlinks=False)
        return path

    def give_directory(self, path: Path) -> Path:
        """Make a directory that belongs to the combination's user alone."""
        path.mkdir(mode=0o700)
        return self.give(path)

    def give_file(self, path: Path, data: bytes) -> Path:
        """Write a file that belongs to the combination's user."""
        path.write_bytes(data)
        return self.give(path)

    def config(self, engine: str) -> dict[str, str]:
        """The environment for a containers.conf with more lines in its ``[engine]``."""
        path = self.dir / f"containers-{next(self._configs)}.conf"
        path.write_text(self._config + engine + "\n")
        return {"CONTAINERS_CONF": str(path)}

    def argv(self, args: tuple[str, ...], env: Mapping[str, str] | None = None) -> list[str]:
        """The whole command line of ``podman ARGS`` in the bed."""
        variables = {
            "PATH": PATH,
            "HOME": str(self.dir / "home"),
            "LC_ALL": "C.UTF-8",
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",  # podman 5: its stderr is held against ours
            **self._environment,
            "CONTAINERS_STORAGE_CONF": str(self.dir / "storage.conf"),
        }
        become = []
        if self.user is not None:
            variables["XDG_RUNTIME_DIR"] = str(self.dir / "xdg")
            become = [
                "setpriv",
                f"--reuid={self.user.uid}",
                f"--regid={self.user.gid}",
                "--clear-groups",
            ]
        variables |= env or {}
        settings = [f"{key}={value}" for key, value in variables.items()]
        return [
            *self.bed.enter(self.dir),
            *become,
            *("env", "-i", *settings),
            *("podman", "--conmon", str(self.bed.called), *args),
        ]

    def __call__(
        self,
        *args: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        code: int | None = 0,
        timeout_s: float = TIMEOUT_S,
    ) -> Result:
        """Run ``podman ARGS`` to its end and assert its exit code (None: any)."""
        done = subprocess.run(
            self.argv(args, env),
            check=False,
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
        )
        result = Result(args, done.returncode, done.stdout, done.stderr)
        assert code is None or result.code == code, f"expected exit code {code} of {result}"
        return result

    @contextlib.contextmanager
    def start(
        self, *args: str, env: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``podman ARGS`` beside the test; all three streams are unbuffered pipes."""
        pipe = subprocess.PIPE
        # Unbuffered, because communicate() would not see what readline() has read ahead.
        with subprocess.Popen(
            self.argv(args, env),
            bufsize=0,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                # The group, because nsenter does not pass signals on to podman.
                if process.poll() is None:
                    os.killpg(process.pid, 9)

    def wait_for_follower(self) -> None:
        """Wait until `podman logs -f` also waits for the container's end.

        podman 4 looks for that end in its own events, from when it has opened them, after it has
        shown what was in the log: it misses one that comes between, and then never ends.
        """
        if not self("version", "--format", "{{.Client.Version}}").text.startswith("4."):
            return
        events = f"{self.tmp_dir}/events/events.log"

        def reads() -> bool:
            for fd in glob.iglob("/proc/[0-9]*/fd/*"):
                with contextlib.suppress(OSError):
                    if os.readlink(fd) == events:
                        return True
            return False

        until(reads, "podman to read its events")

    def name(self) -> str:
        """A container name that was not used yet, here or by tests that run beside these."""
        return f"c{os.getpid()}-{next(self._names)}"

    def run_detached(self, *args: str, name: str | None = None) -> str:
        """``podman run -d ARGS``; returns the container's name."""
        name = name or self.name()
        self("run", "-d", "--name", name, *args)
        return name

    def sh(self, script: str, *options: str) -> str:
        """A detached container that runs ``script``; returns its name."""
        return self.run_detached(*options, IMAGE, "sh", "-c", script)

    def wait(self, name: str) -> int:
        """``podman wait``: the container's exit code."""
        return int(self("wait", "--interval", "20ms", name).text)

    def inspect(self, name: str) -> Any:
        """The decoded ``podman inspect`` of one container."""
        return json.loads(self("inspect", "--type", "container", name).out)[0]

    def format(self, name: str, template: str) -> str:
        """``podman inspect --format``."""
        return self("inspect", "--type", "container", "--format", template, name).text

    def log_path(self, name: str) -> Path:
        return Path(self.format(name, "{{.HostConfig.LogConfig.Path}}"))

    def log(self, name: str) -> list[crilog.Record]:
        """The records of the container's k8s-file log."""
        return crilog.parse(self.log_path(name).read_bytes())

    def wait_log(
        self, name: str, enough: Callable[[list[crilog.Record]], object]
    ) -> list[crilog.Record]:
        """Wait until the log's records satisfy ``enough``, and return them."""
        path = self.log_path(name)

        def probe() -> list[crilog.Record] | None:
            content = path.read_bytes() if path.exists() else b""
            # The last record may be read while it is being written.
            records = crilog.parse(content[: content.rfind(b"\n") + 1])
            return records if records and enough(records) else None

        found = until(probe, f"records in the log of {name}")
        assert found is not None
        return found

    def exit_file(self, name: str) -> Path:
        """Where the container's exit code is put for podman."""
        return self.tmp_dir / "exits" / self.format(name, "{{.Id}}")

    def bundle(self, name: str) -> Path:
        """The directory that conmon gets as its bundle."""
        return Path(self.format(name, "{{.OCIConfigPath}}")).parent

    def monitors(self) -> list[Process]:
        """The live monitors of this combination."""
        mark = f"{self.dir}/"
        return [p for p in self.bed.monitors() if any(mark in word for word in p.argv)]

    def monitor(self, name: str) -> Process:
        """The live monitor of a container that has no exec session."""
        full_id = self.format(name, "{{.Id}}")
        found = [p for p in self.monitors() if full_id in p.argv]
        assert len(found) == 1, f"monitors of {name}: {found}"
        return found[0]

    def wait_no_monitor(self) -> None:
        """Wait until this combination has no monitor."""
        until(lambda: not self.monitors(), f"the monitors under {self.dir} to end")

    @contextlib.contextmanager
    def other_storage(self, name: str) -> Iterator[list[str]]:
        """Global options for a fresh storage in a directory called ``name``."""
        place = self.dir / name
        self.give_directory(place)
        options = ["--root", f"{place}/graph", "--runroot", f"{place}/run"]
        options += ["--tmpdir", f"{place}/tmp"]
        try:
            yield options
        finally:
            self(*options, "rm", "--all", "--force", "--time", "0")
            # Rootless layers belong to the user's subordinate ids; the bed is root's.
            self.bed.run("rm", "-rf", str(place))

    def remove_all(self) -> None:
        """Remove every container, whatever its state."""
        listings = (self.dir / "graph").glob("*-containers/containers.json")
        if not self.monitors() and not any(json.loads(p.read_bytes()) for p in listings):
            return  # a command to remove nothing costs a tenth of a second
        self("rm", "--all", "--force", "--time", "0")


class Gate:
    """Holds a container's script until the test says go.

    In the script: ``read x < /shared/NAME``. A fifo, held open on both ends by the test,
    so that neither side ever blocks in open and no polling is needed.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path, 0o600)
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self) -> None:
        """Let one ``read`` pass."""
        os.write(self._fd, b"go\n")

    def close(self) -> None:
        os.close(self._fd)
