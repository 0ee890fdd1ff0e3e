"""Run one container under conmon and show what happens: python -m demo CONMON [RUNTIME]

RUNTIME is crun, runc, a path, or `bare`, the bundled one that isolates nothing. The exit status
is 0 if all was as it must be. Nothing is left behind.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from demo import runtimes
from demo.manager import DemoError, Manager

EXIT_CODE = 37
SCRIPT = f"""\
echo "hello, I am process $$ on $(uname -n)"
for n in 1 2 3; do sleep 0.7; echo "line $n"; done
sleep 0.3; echo 'a word on standard error' >&2
sleep 0.3; printf 'half a line, '; sleep 0.7; echo 'and the other half'
exit {EXIT_CODE}
"""
EXPECTED = [
    r"stdout F hello, I am process {pid} on .+",
    r"stdout F line 1",
    r"stdout F line 2",
    r"stdout F line 3",
    r"stderr F a word on standard error",
    r"stdout P half a line, ",
    r"stdout F and the other half",
]
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d"
LONGEST_S = 30.0
PR_SET_CHILD_SUBREAPER = 36


class Story:
    """Tells what happens, with the time since the beginning."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def tell(self, who: str, what: str) -> None:
        seconds = time.monotonic() - self._begin
        print(f"{seconds:6.2f} s  {who:<10} {what}", flush=True)


class Follower:
    """Reads a log file on, record by record, as `tail -f` does."""

    def __init__(self, path: Path) -> None:
        self.records: list[str] = []
        self._file = path.open("rb")
        self._rest = b""

    def new(self) -> list[str]:
        """The records that were completed since the last call."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        found = [line.decode(errors="replace") for line in lines]
        self.records += found
        return found

    def close(self) -> None:
        self._file.close()


def run(conmon: Path, runtime: runtimes.Runtime, directory: Path) -> None:
    """The whole life of one container. DemoError at the first thing that is not as it must be."""
    story = Story()
    with Manager(conmon, runtime, directory, "ctr") as manager:
        story.tell("manager", f"starts conmon, which runs `{runtime.name} create`")
        manager.launch(["/bin/sh", "-c", SCRIPT])
        story.tell(
            "conmon", f"has gone into the background: the monitor is pid {manager.monitor_pid}"
        )
        story.tell("conmon", f"reports on the sync pipe: {manager.report()}")
        story.tell("container", f"is created: its first process is pid {manager.container_pid}")
        check_processes(manager)
        story.tell("manager", f"runs `{runtime.name} start`")
        manager.start()
        records = follow(manager, story)
        check_exit(manager, story)
        check_records(records, 1 if runtime.isolates else manager.container_pid)
        status = manager.monitor_status()
        if status != EXIT_CODE:
            raise DemoError(f"the monitor ends with status {status}")
        story.tell("conmon", f"ran its exit command `{runtime.name} delete`, and ends too")
        if runtime.call("state", manager.cid).returncode == 0:
            raise DemoError("the runtime still knows the container: the exit command did not run")


def check_processes(manager: Manager) -> None:
    """The container's parent must be the monitor: so it learns of the container's end."""
    status = Path(f"/proc/{manager.container_pid}/status").read_text()
    parent = int(re.findall(r"^PPid:\s*(\d+)", status, re.MULTILINE)[0])
    if parent != manager.monitor_pid:
        raise DemoError(f"the container's parent is {parent}, not the monitor")


def follow(manager: Manager, story: Story) -> list[str]:
    """Show the log as it grows, until there is an exit file: its records."""
    follower = Follower(manager.log)
    deadline = time.monotonic() + LONGEST_S
    try:
        ended = False
        while not ended:
            ended = manager.exit_file.exists() or manager.monitor_has_ended()
            for record in follower.new():
                if not follower.records[1:]:
                    story.tell("log file", f"begins: {record}")
                stream_and_text = record.partition(" ")[2]
                story.tell("container", stream_and_text)
                if len(follower.records) == 2:
                    tell_memory(manager, story)
            if time.monotonic() > deadline:
                raise DemoError(f"the container does not end within {LONGEST_S:.0f} s")
            time.sleep(0.01)
    finally:
        follower.close()
    return follower.records


def tell_memory(manager: Manager, story: Story) -> None:
    try:
        memory = manager.memory()
    except OSError as error:
        story.tell("conmon", f"has memory that cannot be looked at here: {error}")
        return
    private, resident = memory["Private_Dirty"], memory["Rss"]
    story.tell("conmon", f"has {private} kB of memory to itself (Private_Dirty), RSS {resident} kB")


def check_exit(manager: Manager, story: Story) -> None:
    """Both exit files must have the container's exit code."""
    for path in (manager.exit_file, manager.persist_exit_file):
        code = path.read_text() if path.exists() else "nothing"
        story.tell("exit file", f"{path.relative_to(manager.root)} says {code}")
        if code != str(EXIT_CODE):
            raise DemoError(f"the container ended with {EXIT_CODE}")


def check_records(records: list[str], pid: int) -> None:
    """The log must hold what the container wrote: stream, order, whole or partial line."""
    expected = [f"{STAMP} {line.format(pid=pid)}" for line in EXPECTED]
    for number, (pattern, record) in enumerate(zip(expected, records, strict=False), 1):
        if not re.fullmatch(pattern, record):
            raise DemoError(f"record {number} of the log is {record!r}, not {pattern}")
    if len(records) != len(expected):
        raise DemoError(f"the log has {len(records)} records, not {len(expected)}")


def leave_mixed_cgroups() -> None:
    """Run on in a mount namespace without the cgroup v2 tree that lies beside those of v1.

    crun refuses such a mixture, even where it is told to leave cgroups alone.
    """
    if os.geteuid() != 0 or not os.path.ismount("/sys/fs/cgroup/unified"):
        return
    namespace = ["unshare", "--mount", "--propagation", "private"]
    possible = shutil.which("unshare") and not subprocess.call(
        [*namespace, "umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL
    )
    if possible:
        script = 'umount /sys/fs/cgroup/unified; exec "$@"'
        demo = [sys.executable, "-m", "demo", *sys.argv[1:]]
        os.execvp("unshare", [*namespace, "sh", "-c", script, "sh", *demo])


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("conmon", type=Path)
    parser.add_argument("runtime", nargs="?")
    given = parser.parse_args()
    leave_mixed_cgroups()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="conmon-demo-") as name:
        directory = Path(name)
        try:
            runtime, reasons = runtimes.choose(directory, given.runtime)
            for reason in reasons:
                print(f"not with {reason}")
            who = "root" if os.geteuid() == 0 else "an ordinary user"
            print(f"{given.conmon}, with {runtime.path}, as {who}")
            if not runtime.isolates:
                print("THIS RUNTIME ISOLATES NOTHING: the container is a process of the host.")
            run(given.conmon.resolve(), runtime, directory)
        except (DemoError, OSError, ValueError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print("All was as it must be, and nothing is left behind.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
