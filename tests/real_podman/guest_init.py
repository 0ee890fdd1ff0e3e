"""PID 1 of the guest: runs containers on cgroup v2, and tells what became of them.

``python3 guest_init.py WORK``, with WORK as the host names it. The guest's root is the host's
own file system, read-only; of the host only WORK can be written to, which appears as /run/work.
What happened goes to WORK/result.json, as JSON; then the guest switches itself off.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORK = Path("/run/work")
ENGINE = Path("/run/podman")
PERSIST = Path("/run/persist")
CGROUPS = Path("/sys/fs/cgroup")
IMAGE = "localhost/testbed"
COMMAND_S = 60
EVENT_S = 30
LIMIT = ("--memory", "20m", "--memory-swap", "20m")
HOG = "tail /dev/zero"  # keeps all that it reads: it has no newline
RECLAIM = "cat /work/large >/dev/null"  # fills the page cache, which is given back in time
PAUSE = "read -r _ </shared/go"


def mount(kind: str, target: Path, options: str = "rw") -> None:
    # hostfs takes its directory by mount(2) only, not by fsconfig(2)
    env = os.environ | {"LIBMOUNT_FORCE_MOUNT2": "always"}
    subprocess.run(["mount", "-t", kind, "-o", options, kind, str(target)], env=env, check=True)


def prepare(work: str) -> None:
    """Mounts and cgroup controllers."""
    mount("proc", Path("/proc"))
    mount("sysfs", Path("/sys"))
    mount("cgroup2", CGROUPS)
    for name in ("pts", "shm"):
        Path("/dev", name).mkdir(exist_ok=True)
    mount("devpts", Path("/dev/pts"))
    for name in ("/dev/shm", "/run", "/tmp", "/var/tmp"):
        mount("tmpfs", Path(name), "mode=1777")
    for path in (WORK, ENGINE, PERSIST):
        path.mkdir()
    mount("hostfs", WORK, work)
    (CGROUPS / "cgroup.subtree_control").write_text("+cpu +io +memory +pids")


def run(*args: str) -> subprocess.CompletedProcess[str]:
    """``podman ARGS``, to its end."""
    return subprocess.run(
        ["podman", *args], capture_output=True, text=True, timeout=COMMAND_S, check=False
    )


def podman(*args: str) -> str:
    """``podman ARGS`` that must succeed; its standard output."""
    done = run(*args)
    if done.returncode:
        raise RuntimeError(f"podman {args} exited with {done.returncode}: {done.stderr}")
    return done.stdout


class Container:
    """One container, and the facts about it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.facts: dict[str, Any] = {}
        self.shared = ENGINE / "shared" / name
        self.shared.mkdir(parents=True)
        os.mkfifo(self.shared / "go")
        self.id = ""

    @property
    def bundle(self) -> Path:
        return ENGINE / "graph/vfs-containers" / self.id / "userdata"

    def start(self, script: str) -> None:
        """``podman run -d`` with a memory limit."""
        volumes = ("-v", f"{self.shared}:/shared", "-v", f"{WORK}:/work:ro")
        words = ("--name", self.name, *LIMIT, *volumes, IMAGE, "sh", "-c", script)
        self.id = podman("run", "-d", *words).strip()

    def wait(self) -> None:
        """The end; and the oom file in the persist directory, which is there by then."""
        podman("wait", self.name)
        self.facts["persist"] = (PERSIST / self.id / "oom").exists()
        state = json.loads(podman("inspect", "--type", "container", self.name))[0]["State"]
        self.facts["oom_killed"] = state["OOMKilled"]
        self.facts["exit_code"] = state["ExitCode"]

    def wait_reported(self) -> None:
        """Wait for both oom files while the container runs."""
        files = (self.bundle / "oom", PERSIST / self.id / "oom")
        deadline = time.monotonic() + EVENT_S
        while time.monotonic() < deadline and not all(path.exists() for path in files):
            time.sleep(0.02)
        self.facts["reported_while_running"] = [path.exists() for path in files]

    def go(self) -> None:
        """Let the script's ``read`` pass."""
        (self.shared / "go").write_text("go\n")


def whole(container: Container) -> None:
    container.start(f"exec {HOG}")
    container.wait()


def shell_survives(container: Container) -> None:
    container.start(f"{HOG}; sleep 0.5; exit 3")
    container.wait()


def child(container: Container) -> None:
    container.start(f"{HOG}; {PAUSE}; exit 0")
    container.wait_reported()
    container.go()
    container.wait()


def session(container: Container) -> None:
    container.start(f"{PAUSE}; exit 0")
    container.facts["session"] = run("exec", container.name, *HOG.split()).returncode
    container.wait_reported()
    sessions = [path for path in PERSIST.iterdir() if (path / "session").exists()]
    container.facts["session_persist"] = [(path / "oom").exists() for path in sessions]
    container.facts["next_session"] = run("exec", container.name, "true").returncode
    later = [p for p in PERSIST.iterdir() if (p / "session").exists() and p not in sessions]
    container.facts["next_session_persist"] = [(path / "oom").exists() for path in later]
    container.go()
    container.wait()


def after_reclaim(container: Container) -> None:
    container.start(f"{RECLAIM}; exec {HOG}")
    container.wait()


def reclaim(container: Container) -> None:
    container.start(f"{RECLAIM}; cat /sys/fs/cgroup/memory.events >/shared/events; exit 0")
    container.wait()
    lines = (container.shared / "events").read_text().splitlines()
    container.facts["events"] = {name: int(n) for name, n in (line.split() for line in lines)}


def killed(container: Container) -> None:
    container.start(PAUSE)
    podman("kill", "--signal", "KILL", container.name)
    container.wait()


def status_137(container: Container) -> None:
    container.start("exit 137")
    container.wait()


def switches(status: Path) -> int:
    """How often a process has gone to sleep."""
    found = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def cgroup_removed(container: Container) -> None:
    container.start(f"{PAUSE}; exit 6")
    pids = ENGINE / "run/vfs-containers" / container.id / "userdata"
    pid = (pids / "pidfile").read_text()
    monitor = Path("/proc", (pids / "conmon.pid").read_text(), "status")
    (CGROUPS / "cgroup.procs").write_text(pid)
    (CGROUPS / f"libpod_parent/libpod-{container.id}").rmdir()
    windows = [switches(monitor)]
    while len(windows) < 20 and windows[-1] not in windows[:-1]:
        time.sleep(0.5)  # a window in which nothing may happen, sooner or later
        windows.append(switches(monitor))
    container.facts["settles"] = windows[-1] in windows[:-1]
    container.go()
    container.wait()


SCENARIOS: tuple[Callable[[Container], None], ...] = (
    whole, shell_survives, child, session, after_reclaim, reclaim, killed, status_137,
    cgroup_removed,
)  # fmt: skip


def run_scenarios() -> dict[str, Any]:
    """Scenario -> facts; ``error`` is among them where it could not be brought to its end."""
    os.environ.update(json.loads((WORK / "environment.json").read_text()))
    podman("import", "--change", 'CMD ["/bin/sh"]', str(WORK / "image.tar"), IMAGE)
    result = {}
    for scenario in SCENARIOS:
        container = Container(scenario.__name__)
        began = time.monotonic()
        try:
            scenario(container)
        except Exception:
            container.facts["error"] = traceback.format_exc()
        container.facts["seconds"] = round(time.monotonic() - began, 1)
        result[container.name] = container.facts
    return result


def main() -> None:
    result: dict[str, Any] = {}
    try:
        prepare(sys.argv[1])
        result = run_scenarios()
    except Exception:
        result["error"] = traceback.format_exc()
        print(result["error"], flush=True)
    (WORK / "result.json").write_text(json.dumps(result, indent=1))
    Path("/proc/sysrq-trigger").write_text("o")
    time.sleep(60)  # the guest is off before that; an init that ends is a panic


if __name__ == "__main__":
    main()
