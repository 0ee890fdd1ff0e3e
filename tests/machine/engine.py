"""podman as the system's own: what is installed is the conmon under test, and systemd runs it."""

from __future__ import annotations

import itertools
import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from real_podman.client import Result
from real_podman.image import build_image

T = TypeVar("T")

IMAGE = "localhost/machine"
USER = "conmonvm"
#: An emulated machine is slow. Each command and each wait has so many seconds.
LIMIT_S = 200.0
CONMON = Path("/usr/libexec/podman/conmon")
BUILT = Path(__file__).resolve().parent.parent.parent / "build" / "conmon"
QUADLETS = Path("/etc/containers/systemd")
UNITS = Path("/etc/systemd/system")
SETTINGS = """\
[containers]
netns = "host"
"""


def run(*argv: str, code: int | None = 0, stdin: bytes = b"") -> Result:
    """Run a command to its end, and assert its exit code (None: any)."""
    done = subprocess.run(argv, check=False, input=stdin, capture_output=True, timeout=LIMIT_S)
    result = Result(argv, done.returncode, done.stdout, done.stderr)
    assert code is None or result.code == code, f"expected exit code {code} of {result}"
    return result


def until(probe: Callable[[], T], what: str) -> T:
    """Call `probe` until its result is true, and return that. For what sends no event."""
    deadline = time.monotonic() + LIMIT_S
    while not (result := probe()):
        assert time.monotonic() < deadline, f"waited for {what}; last seen: {result!r}"
        time.sleep(0.1)
    return result


def install(image: Path) -> Path:
    """Put the conmon under test where podman looks first; the image's tar file."""
    CONMON.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(BUILT, CONMON)
    settings = Path("/etc/containers/containers.conf.d/machine.conf")
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(SETTINGS)
    # it kills for less than the kernel does: for its own test only
    run("systemctl", "disable", "--now", "systemd-oomd.service", "systemd-oomd.socket", code=None)
    build_image(image, ("stty", "socat"))
    image.parent.chmod(0o755)
    for parent in image.parents[:-2]:
        parent.chmod(0o755)
    return image


def make_user() -> str:
    """A user whose service manager is there without a log-in."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        run("useradd", "--create-home", "--shell", "/bin/bash", USER)
    run("loginctl", "enable-linger", USER)
    bus = Path(f"/run/user/{pwd.getpwnam(USER).pw_uid}/bus")
    until(bus.exists, "the user's bus")
    return USER


def write_unit(name: str, suffix: str, text: str) -> str:
    """Write a quadlet file (suffix `container`) or a unit (`service`); its path."""
    directory = UNITS if suffix == "service" else QUADLETS
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.{suffix}"
    path.write_text(text)
    run("systemctl", "daemon-reload")
    return str(path)


def remove_units(paths: list[str]) -> None:
    """Stop the services of these files, and remove them."""
    for path in paths:
        run("systemctl", "stop", f"{Path(path).stem}.service", code=None)
        Path(path).unlink()
    run("systemctl", "daemon-reload")
    run("systemctl", "reset-failed", code=None)


def show(unit: str, *properties: str) -> dict[str, str]:
    """Properties of a unit of the system."""
    words = [f"--property={name}" for name in properties]
    lines = run("systemctl", "show", *words, unit).text.splitlines()
    return dict(line.split("=", 1) for line in lines)


class Engine:
    """podman with the system's settings, as root or as a user.

    Containers of `sh` are made by `runtime`: all combinations would take twice as long.
    """

    _names = itertools.count(1)

    def __init__(self, user: str | None, image: Path, runtime: str) -> None:
        self.user = user
        self.runtime = runtime
        self.become: list[str] = []
        if user is not None:
            uid = pwd.getpwnam(user).pw_uid
            self.become = [
                *("runuser", "-u", user, "--", "env", "--chdir=/", f"HOME=/home/{user}"),
                f"XDG_RUNTIME_DIR=/run/user/{uid}",
                f"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{uid}/bus",
            ]
        if self("image", "exists", IMAGE, code=None).code != 0:
            self("import", "--change", 'CMD ["/bin/sh"]', str(image), IMAGE)

    def argv(self, *args: str) -> tuple[str, ...]:
        """The command line of `podman ARGS`."""
        return (*self.become, "podman", *args)

    def __call__(self, *args: str, code: int | None = 0, stdin: bytes = b"") -> Result:
        """Run `podman ARGS` to its end, and assert its exit code (None: any)."""
        return run(*self.argv(*args), code=code, stdin=stdin)

    def name(self) -> str:
        """A container name that was not used yet."""
        return f"c{os.getpid()}-{next(self._names)}"

    def sh(self, script: str, *options: str) -> str:
        """A detached container that runs `script`; its name."""
        name = self.name()
        runtime = f"--runtime={self.runtime}"
        self(runtime, "run", "-d", "--name", name, *options, IMAGE, "sh", "-c", script)
        return name

    def wait(self, name: str) -> int:
        """The container's exit code."""
        return int(self("wait", name).text)

    def inspect(self, name: str) -> Any:
        """The decoded `podman inspect` of one container."""
        return json.loads(self("inspect", "--type", "container", name).out)[0]

    def logs(self, name: str) -> list[str]:
        """The lines that podman finds in the container's log."""
        return self("logs", name).text.splitlines()

    def wait_logs(self, name: str, line: str) -> None:
        """Wait until the log has a line."""
        until(lambda: line in self.logs(name), f"{line!r} in the log of {name}")

    def monitors(self) -> list[int]:
        """Pids of the monitors of this user."""
        uid = pwd.getpwnam(self.user).pw_uid if self.user else 0
        found = []
        for entry in Path("/proc").iterdir():
            try:
                named = entry.name.isdigit() and (entry / "comm").read_text() == "conmon\n"
                if named and (entry / "status").stat().st_uid == uid:
                    found.append(int(entry.name))
            except OSError:
                continue  # it has gone meanwhile
        return found

    def wait_no_monitor(self) -> None:
        """Wait until this user has no monitor."""
        until(lambda: not self.monitors(), "the monitors to end")
