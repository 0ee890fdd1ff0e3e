"""The least OCI runtime: it starts a process and keeps an eye on it. IT ISOLATES NOTHING.

For machines where neither crun nor runc can be had. It knows the commands create, start, state,
kill and delete of the OCI runtime command line, as far as the demonstration needs them. Of
config.json it takes process.args, process.env and process.cwd; programs and directories are those
of the host.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="where the state is kept")
    commands = parser.add_subparsers(dest="command", required=True)
    create_options = commands.add_parser("create")
    create_options.add_argument("--bundle", type=Path, default=Path())
    create_options.add_argument("--pid-file", type=Path)
    for name in ("start", "state", "kill", "delete"):
        commands.add_parser(name)
    commands.choices["delete"].add_argument("--force", action="store_true")
    for command in commands.choices.values():
        command.add_argument("id")
    commands.choices["kill"].add_argument("signal", nargs="?", default="TERM")
    given = parser.parse_args()
    directory: Path = given.root / given.id
    try:
        if given.command == "create":
            create(directory, given.bundle, given.pid_file)
        elif given.command == "start":
            start(directory)
        elif given.command == "state":
            print(json.dumps(state(directory)))
        elif given.command == "kill":
            kill(directory, given.signal)
        else:
            delete(directory, given.force)
    except (OSError, ValueError, KeyError) as error:
        print(f"bare-runtime: {given.command} {given.id}: {error}", file=sys.stderr)
        return 1
    return 0


def create(directory: Path, bundle: Path, pid_file: Path | None) -> None:
    """Start a process that waits for `start` before it becomes the container's."""
    process = json.loads((bundle / "config.json").read_text())["process"]
    environment = dict(pair.split("=", 1) for pair in process.get("env", []))
    directory.mkdir(parents=True)
    gate = directory / "gate"
    os.mkfifo(gate)
    # Read and write: then `start` finds a reader as long as the process lives.
    gate_fd = os.open(gate, os.O_RDWR)
    pid = os.fork()
    if pid == 0:
        _become_container(gate_fd, process["args"], environment, process.get("cwd", "/"))
    os.close(gate_fd)
    (directory / "state.json").write_text(json.dumps({"pid": pid, "bundle": str(bundle)}))
    if pid_file is not None:
        pid_file.write_text(str(pid))


def _become_container(gate_fd: int, argv: list[str], environment: dict[str, str], cwd: str) -> None:
    """Wait, then execute. Does not return."""
    try:
        os.setsid()
        os.read(gate_fd, 1)
        os.close(gate_fd)
        os.chdir(cwd)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvpe(argv[0], argv, environment)
    finally:
        os._exit(127)


def start(directory: Path) -> None:
    gate_fd = os.open(directory / "gate", os.O_WRONLY | os.O_NONBLOCK)
    os.unlink(directory / "gate")
    os.write(gate_fd, b"\0")
    os.close(gate_fd)


def state(directory: Path) -> dict[str, str | int]:
    """The state, as the OCI runtime specification has it."""
    saved = json.loads((directory / "state.json").read_text())
    pid: int = saved["pid"]
    if not _lives(pid):
        status = "stopped"
    elif (directory / "gate").exists():
        status = "created"
    else:
        status = "running"
    return {
        "ociVersion": "1.0.2",
        "id": directory.name,
        "status": status,
        "pid": pid,
        "bundle": saved["bundle"],
    }


def _lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def kill(directory: Path, name: str) -> None:
    number = int(name) if name.isdigit() else signal.Signals[f"SIG{name.removeprefix('SIG')}"]
    os.kill(int(state(directory)["pid"]), number)


def delete(directory: Path, force: bool) -> None:
    if state(directory)["status"] != "stopped":
        if not force:
            raise ValueError("it is not stopped")
        kill(directory, "KILL")
    shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
