"""The sessions that are tried: what is started, what its caller does, what must come of it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import termios
from collections.abc import Callable
from dataclasses import dataclass

from harness import Pipes
from harness_exec import as_crio_exec, as_podman_exec
from harness_rooms import STANDIN

from faults.stage import Gone, Stage

#: How the container ends.
CODE = 7
_HERE = os.path.dirname(os.path.abspath(__file__))
# Numbered lines, on stdout and stderr; then, told by a fifo, more of them.
_LINES = """
i=%d
while [ $i -lt %d ]; do echo "out $i."; echo "err $i." >&2; i=$((i + 1)); done
"""
_COMMAND = "echo $$ >ran.new; mv ran.new ran" + _LINES % (0, 20) + ": >half\n"
_INPUT = 'read -r line; echo "in $line."\n'
_MORE = "read -r _ <go" + _LINES % (20, 40) + f"exit {CODE}\n"


@dataclass(frozen=True)
class Promise:
    """What must have come of a session that started."""

    first: int = 0  # numbers of the lines
    last: int = 40
    log: bool = True
    stderr: bool = True
    client: bool = True
    exit_files: int = 2
    report: bool = False  # of the exit code, on the sync pipe
    exit_command: bool = True
    refused: bool = False


@dataclass(frozen=True)
class Session:
    play: Callable[[Stage], None]
    promise: Promise


def _prepare(stage: Stage, command: str) -> None:
    container = stage.container
    container.command(command)
    container.fifo("start")
    container.fifo("go")
    container.allow(
        "bundle/start", "bundle/go", "bundle/gate", "bundle/command", "bundle/ran",
        "bundle/ran.new", "bundle/half", "bundle/process.json", "run/stdout", "run/stderr",
        "logs/moved",
    )  # fmt: skip
    container.peer_leaves("bundle/attach")  # at each end by an error


def _exit_command(stage: Stage) -> None:
    options = stage.container.options
    options["--exit-command"] = os.path.join(_HERE, "exit-command")
    options["--exit-command-arg"] = [str(stage.container.root / "after" / "recorded")]


def _started(stage: Stage) -> None:
    """Wait for the report; Gone if it says that there is no container."""
    stage.wait(lambda: stage.told() or "" in stage.facts.messages, "report")
    told = stage.told()
    if int(told.get("data", told.get("pid", -1))) < 0:
        raise Gone("report of a failure")
    stage.wait(lambda: stage.facts.parent in stage.facts.statuses, "end of the first process")


def _go(stage: Stage, name: str) -> None:
    stage.container.open_fifo(stage.container.bundle / name)


def _client_has(stage: Stage, text: bytes) -> None:
    """Wait until the client has got this. One that is cut off cannot tell the container to end."""
    client = stage.client
    assert client is not None
    stage.wait(lambda: client.end or text in client.out, f"{text!r} at the client")
    if client.end:
        stage.facts.killed = True
        pid = stage.container_pid()
        if pid:
            os.kill(pid, 9)
        raise Gone("client cut off")


def _tell(stage: Stage, line: bytes) -> None:
    """Write to ctl as podman does, and wait until it has been read."""
    path = stage.container.bundle / "ctl"
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise OSError(f"{path} is no fifo")
        os.write(fd, line)
        poll = _empty(fd)
        stage.wait(poll, "ctl to be read")
    finally:
        os.close(fd)


def _empty(fd: int) -> Callable[[], bool]:
    def empty() -> bool:
        return fcntl.ioctl(fd, termios.FIONREAD, bytes(4)) == bytes(4)

    return empty


def _attach(stage: Stage) -> None:
    """Attach to a container that runs: who was not accepted yet misses what it writes."""
    before = stage.sockets()
    stage.attach()
    client = stage.client
    assert client is not None
    stage.wait(lambda: client.end or stage.sockets() > before, "accept")


def _attached(stage: Stage) -> None:
    """From the start of the container on: a client, its input, a resize, a moved log."""
    _attach(stage)
    _go(stage, "start")
    _client_has(stage, b"out 19.")
    assert stage.client is not None
    stage.client.send(b"hello\n")
    _client_has(stage, b"in hello.")
    _tell(stage, b"1 24 80\n")


def _reopen(stage: Stage) -> None:
    container = stage.container
    container.log.rename(container.log.with_name("moved"))
    _tell(stage, b"2 0 0\n")


def _finish(stage: Stage) -> None:
    stage.note_fds()
    _go(stage, "go")


def create(stage: Stage) -> None:
    """As podman: a client with input, resize, log moved and reopened, exit command."""
    _prepare(stage, _COMMAND + _INPUT + _MORE)
    _exit_command(stage)
    stage.container.options["-i"] = None
    stage.launch()
    _started(stage)
    _attached(stage)
    _reopen(stage)
    _finish(stage)


def rotate(stage: Stage) -> None:
    """As create, with a log that is rotated several times and reopened."""
    _prepare(stage, _COMMAND + _MORE)
    options = stage.container.options
    options |= {"--log-rotate": None, "--log-max-files": "40", "--log-size-max": "1000"}
    stage.container.allow(*(f"logs/ctr.log.{n}" for n in range(1, 41)))
    stage.launch()
    _started(stage)
    _go(stage, "start")
    stage.wait((stage.container.bundle / "half").exists, "half of the lines")
    _tell(stage, b"2 0 0\n")
    _finish(stage)


def execute(stage: Stage) -> None:
    """As podman exec -i: attach pipe, client, second start byte."""
    container = stage.container
    _prepare(stage, _COMMAND + _INPUT + _MORE)
    as_podman_exec(container)
    _exit_command(stage)
    container.options["-i"] = None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stage.launch(
        "--exec-attach", pass_fds=[theirs.fileno()],
        environment={"_OCI_ATTACHPIPE": str(theirs.fileno())},
    )  # fmt: skip
    theirs.close()
    stage.watch_attach_pipe(ours.detach())
    facts = stage.facts
    stage.wait(lambda: facts.attach_messages or "" in facts.messages, "attach pipe")
    if not facts.attach_messages or '"data": 0' not in facts.attach_messages[0]:
        raise Gone("attach pipe")
    stage.attach()
    container.go()
    _go(stage, "start")
    _started(stage)
    _client_has(stage, b"out 19.")
    assert stage.client is not None
    stage.client.send(b"hello\n")
    _client_has(stage, b"in hello.")
    _finish(stage)


def terminal(stage: Stage) -> None:
    """As podman run -it: a terminal, a client with input, resize, exit command."""
    container = stage.container
    _prepare(stage, _COMMAND + _INPUT + _MORE)
    _exit_command(stage)
    container.options["-r"] = str(STANDIN / "terminal")
    container.options["-t"] = None
    container.allow("bundle/tty")
    stage.launch()
    _started(stage)
    _attached(stage)
    _finish(stage)


def crio(stage: Stage) -> None:
    """As CRI-O: stream pipes, a socket directory, a relay for notifications, no sync of the log."""
    container = stage.container
    container.as_crio()
    _prepare(stage, _COMMAND + _MORE)
    (container.bundle / "notify").mkdir()
    container.options["--sdnotify-socket"] = str(container.root / "run" / "notify")
    container.allow("run/notify", "bundle/notify/notify.sock")
    container.options["--timeout"] = "60"
    stage.launch(pipes=Pipes.STREAM)
    _started(stage)
    _attach(stage)
    _go(stage, "start")
    _client_has(stage, b"out 19.")
    _reopen(stage)
    _finish(stage)


def crio_exec(stage: Stage) -> None:
    """As CRI-O's ExecSync: --sync, one pipe, no bundle; the code comes on the sync pipe."""
    _prepare(stage, _COMMAND + _MORE)
    as_crio_exec(stage.container)
    stage.launch(pipes=Pipes.PIPE)
    _go(stage, "start")
    _go(stage, "go")


def failing(stage: Stage) -> None:
    """A runtime that fails, with a reason."""
    _prepare(stage, _COMMAND)
    _exit_command(stage)
    (stage.container.bundle / "command").unlink()
    stage.container.put("stderr", "the runtime says why\n")
    stage.container.put("status", "1")
    stage.container.allow("bundle/stderr", "bundle/status")
    stage.launch()
    _started(stage)


ALL: dict[str, Session] = {
    "create": Session(create, Promise()),
    "exec": Session(execute, Promise(log=False)),
    "terminal": Session(terminal, Promise(stderr=False)),
    "rotate": Session(rotate, Promise(client=False, exit_command=False)),
    "crio": Session(crio, Promise(exit_command=False)),
    "crio-exec": Session(
        crio_exec, Promise(client=False, exit_command=False, exit_files=0, report=True)
    ),
    "failing": Session(failing, Promise(refused=True)),
}
