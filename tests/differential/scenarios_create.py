"""Scenarios of containers: how they start, live and end, and how the start fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from differential.stage import Scenario, Stage, read_end
from harness import Pipes
from harness_proc import settled
from harness_rooms import CID, STANDIN

SCENARIOS: list[Scenario] = []
Play = Callable[[Stage], None]


def scenario(what: str, peer_stays: bool = False) -> Callable[[Play], Play]:
    """Put a function into the table, under its name."""

    def add(play: Play) -> Play:
        SCENARIOS.append(Scenario(play.__name__.replace("_", " "), what, play, peer_stays))
        return play

    return add


def ends_with(name: str, what: str, command: str, *options: str) -> None:
    """A container that runs a command to its end."""

    def play(stage: Stage) -> None:
        stage.container.command(command)
        stage.launch(*options)
        stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


ends_with("exit 0", "A container that succeeds.", "exit 0")
ends_with("exit 37", "A container that fails.", "exit 37")
ends_with("exit 255", "A container that exits with 255.", "exit 255")
ends_with("killed", "A container that dies of SIGKILL.", "kill -KILL $$")
ends_with("terminated", "A container that dies of SIGTERM.", "kill -TERM $$")
ends_with("sync", "conmon with --sync does not go into the background.", "exit 5", "--sync")
ends_with("timeout", "A container that outlives --timeout.", "exec sleep 1000", "--timeout", "1")
ends_with("timeout not reached", "A container that ends in time.", "exit 4", "--timeout", "1000")


def running(stage: Stage) -> None:
    """Play a container that waits: look at it, let it go on, wait for its end."""
    stage.container.fifo("go")
    stage.container.command("read -r _ <go; exit 3")
    stage.launch()
    stage.message()
    stage.look("while it runs")
    stage.open("go")
    stage.finish()


@scenario("A container as podman starts it, while it runs and after its end.")
def as_podman(stage: Stage) -> None:
    stage.record()
    stage.container.exit_command("container", "cleanup", CID)
    running(stage)


@scenario("A container as CRI-O starts it: API 0, a socket directory, stream pipes.")
def as_crio(stage: Stage) -> None:
    stage.record()
    stage.container.as_crio()
    stage.container.fifo("go")
    stage.container.command("read -r _ <go; exit 3")
    stage.launch(pipes=Pipes.STREAM)
    stage.message()
    stage.look("while it runs")
    stage.open("go")
    stage.finish()


@scenario("The order of all steps from the start to the end, with an exit command.")
def steps(stage: Stage) -> None:
    stage.container.exit_command()
    stage.container.command("exit 3")
    stage.launch(wrapper=stage.trace())
    stage.finish()


@scenario("The same as CRI-O starts it, with --no-sync-log.")
def steps_for_crio(stage: Stage) -> None:
    stage.container.as_crio()
    stage.container.command("exit 3")
    stage.launch("--no-sync-log", wrapper=stage.trace())
    stage.finish()


@scenario("Files of the same names are there already.")
def old_files(stage: Stage) -> None:
    container = stage.container
    for path in (container.exit_file, container.persist_exit, container.conmon_pidfile):
        path.write_text("from an earlier life\n")
    for name in ("attach", "ctl", "winsz"):
        container.put(name, "from an earlier life\n")
    container.command("exit 3")
    stage.launch()
    stage.finish()


@scenario("The caller has umask 077, and the container a file to make.")
def umask(stage: Stage) -> None:
    stage.record()
    stage.container.command("exit 0")
    stage.launch(umask=0o077)
    stage.finish()


@scenario("Neither exit nor persist directory is given.")
def no_exit_directories(stage: Stage) -> None:
    for option in ("--exit-dir", "--persist-dir"):
        del stage.container.options[option]
    stage.container.command("exit 3")
    stage.launch()
    stage.finish()


@scenario("The persist directory is not there.")
def persist_directory_missing(stage: Stage) -> None:
    stage.container.options["--persist-dir"] = str(stage.container.root / "missing")
    stage.container.command("exit 3")
    stage.launch()
    stage.finish()


@scenario("The exit directory is not there.")
def exit_directory_missing(stage: Stage) -> None:
    stage.container.options["--exit-dir"] = str(stage.container.root / "missing")
    stage.container.command("exit 3")
    stage.launch()
    stage.finish()


@scenario("The exit directory is not there, and an exit command is due.")
def exit_directory_missing_with_exit_command(stage: Stage) -> None:
    stage.container.options["--exit-dir"] = str(stage.container.root / "missing")
    stage.container.exit_command()
    stage.container.command("exit 3")
    stage.launch()
    stage.finish()


# The runtime


def failing(
    name: str, what: str, *, stderr: str = "", status: str = "1", crio: bool = False,
    options: tuple[str, ...] = (), exit_command: bool = False,
) -> None:  # fmt: skip
    """A runtime that fails before there is a container."""

    def play(stage: Stage) -> None:
        container = stage.container
        if crio:
            container.as_crio()
        if exit_command:
            container.exit_command()
        container.put("stderr", stderr)
        if status.isdigit():
            container.put("status", status)
        else:
            container.put("signal", status)
        stage.launch(*options)
        stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


failing("runtime fails", "The runtime fails with a message.", stderr="no such image\n")
failing("runtime fails without a word", "The runtime fails silently.")
failing("runtime killed", "The runtime dies of a signal.", stderr="last words\n", status="KILL")
failing(
    "runtime fails with odd bytes", "Its message must be escaped.", stderr='a "b"\\ \t\x01\x7f é\n'
)
failing(
    "runtime fails for CRI-O", "The runtime fails under API 0.", stderr="no such image\n", crio=True
)
failing(
    "runtime fails with --sync", "The runtime fails, conmon is in the foreground.",
    stderr="no such image\n", options=("--sync",),
)  # fmt: skip
failing(
    "runtime fails with an exit command", "The exit command is due all the same.",
    stderr="no such image\n", exit_command=True,
)  # fmt: skip
failing("runtime fails at length", "Its message is longer than a report may be.", stderr="x" * 6000)


@scenario("The runtime succeeds, but there is no pid file.")
def no_pid_file(stage: Stage) -> None:
    stage.container.put("no-pid-file", "")
    stage.launch()
    stage.finish()


@scenario("The runtime succeeds with words on stderr, but there is no pid file.")
def no_pid_file_but_words(stage: Stage) -> None:
    stage.container.put("no-pid-file", "")
    stage.container.put("stderr", "boom\n")
    stage.launch()
    stage.finish()


@scenario("The pid file ends with a newline.")
def newline_in_the_pid_file(stage: Stage) -> None:
    stage.container.put("pid-format", r"%s\n")
    stage.container.command("exit 3")
    stage.launch()
    stage.finish()


@scenario("The pid file has a word in it.")
def garbage_in_the_pid_file(stage: Stage) -> None:
    stage.container.put("pid-file", "garbage\n")
    stage.launch()
    stage.finish()


@scenario("The runtime is a directory: access(2) lets it pass, execve(2) does not.")
def runtime_is_a_directory(stage: Stage) -> None:
    (stage.container.root / "runtime").mkdir()
    stage.container.options["-r"] = str(stage.container.root / "runtime")
    stage.launch()
    stage.finish()


def runtime_given(name: str, what: str, *options: str) -> None:
    """What the runtime gets from these options."""

    def play(stage: Stage) -> None:
        stage.record()
        stage.container.command("exit 0")
        stage.launch(*options)
        stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


runtime_given("runtime plain", "What the runtime gets without further options.")
runtime_given("runtime with stdin", "What the runtime gets with -i.", "-i")
runtime_given(
    "runtime options", "All options that go to the runtime's command line.",
    *("-s", "--runtime-arg", "--log=x", "--runtime-arg", "--debug", "--no-pivot"),
    *("--no-new-keyring", "--runtime-opt", "--preserve-fds", "--runtime-opt", "2"),
)  # fmt: skip
runtime_given(
    "restore", "A container that is restored from a checkpoint.",
    *("--restore", "/image", "--runtime-opt", "--tcp-established", "--no-pivot"),
)  # fmt: skip


@scenario("systemd's variables for sockets go on to the runtime, with its own pid.")
def listen_fds(stage: Stage) -> None:
    stage.record()
    stage.container.command("exit 0")
    stage.launch(
        "--replace-listen-pid", environment={"LISTEN_PID": "4711", "LISTEN_FDS": "2", "X": "é"}
    )
    stage.finish()


@scenario("A file that the caller has open, as for --preserve-fds,")
def preserved_fd(stage: Stage) -> None:
    stage.record()
    given = stage.container.root / "run" / "given"
    given.touch()
    stage.container.command("exit 0")
    with open(given) as file:
        stage.launch("--runtime-opt", "--preserve-fds=1", pass_fds=[file.fileno()])
    stage.finish()


@scenario("Neither a bundle nor a pid file is named: conmon's own directory is the bundle.")
def default_bundle_and_pid_file(stage: Stage) -> None:
    container = stage.container
    stage.record()
    for option in ("-b", "-p"):
        del container.options[option]
    container.pidfile = container.bundle / f"pidfile-{CID}"
    container.command("exit 3")
    stage.launch(cwd=container.bundle)
    stage.finish()


# Streams


ends_with(
    "two streams", "Lines on stdout and stderr.", "echo out; echo err >&2; echo out2; echo err2 >&2"
)
ends_with("unfinished line", "Output that ends without a newline.", "printf 'one\\ntwo'")
ends_with("empty lines", "Lines of no length.", "echo; echo; echo x; echo")
ends_with("long line", "A line of 100,000 bytes.", "head -c 100000 /dev/zero | tr '\\0' x; echo")
ends_with("odd bytes", "NUL, invalid UTF-8, carriage return.", "printf 'a\\0b\\377\\r\\033[0m\\n'")


@scenario("A container that closes its streams, and lives on.")
def streams_closed(stage: Stage) -> None:
    container = stage.container
    container.fifo("go")
    container.command("echo out; exec >&- 2>&-; read -r _ <go; exit 4")
    stage.launch()
    stage.message()
    container.wait_log(b" F out\n")
    settled(container.monitor.pid)
    stage.open("go")
    stage.finish()


@scenario("A process outlives the container, and has its streams open.")
def streams_held(stage: Stage) -> None:
    container = stage.container
    container.fifo("hold")
    container.command("{ read -r _ <hold; echo late; } & echo out; exit 4")
    stage.launch()
    stage.message()
    container.wait_exit_file()
    container.monitor.wait()
    stage.open("hold")
    stage.finish()


# The exit command


@scenario("An exit command with arguments, after --exit-delay.")
def exit_delay(stage: Stage) -> None:
    stage.container.exit_command("two words", "", "--")
    stage.container.command("exit 21")
    stage.launch("--exit-delay", "1")
    stage.finish()


@scenario("An exit command that fails.")
def exit_command_fails(stage: Stage) -> None:
    (stage.container.exit_command() / "result").write_text("5")
    stage.container.command("exit 21")
    stage.launch()
    stage.finish()


@scenario("An exit command that is not there.")
def exit_command_missing(stage: Stage) -> None:
    stage.container.options["--exit-command"] = "/no/such/command"
    stage.container.command("exit 21")
    stage.launch()
    stage.finish()


# The caller's pipes


@scenario("conmon's pid file cannot be written.", peer_stays=True)
def conmon_pidfile_unwritable(stage: Stage) -> None:
    container = stage.container
    container.options["--conmon-pidfile"] = str(container.root / "missing" / "conmon.pid")
    container.command("exec sleep 1000")
    stage.launch()
    stage.message()
    stage.finish()


@scenario("The sync pipe's number is none.")
def sync_pipe_garbage(stage: Stage) -> None:
    stage.container.command("exit 0")
    stage.launch(override={"_OCI_SYNCPIPE": "12x"})
    stage.finish()


@scenario("The caller has no pipes.")
def no_pipes(stage: Stage) -> None:
    stage.record()
    stage.container.command("exit 5")
    stage.launch(without=("_OCI_SYNCPIPE", "_OCI_STARTPIPE"))
    stage.finish()


@scenario("The bundle is not there.")
def bundle_missing(stage: Stage) -> None:
    stage.container.options["-b"] = str(stage.container.root / "missing")
    stage.launch()
    stage.finish()


@scenario("The directory for sockets is not there.")
def socket_directory_missing(stage: Stage) -> None:
    stage.container.as_crio()
    stage.container.options["--socket-dir-path"] = str(stage.container.root / "missing")
    stage.launch(pipes=Pipes.STREAM)
    stage.finish()


# Signals


def signalled(number: signal.Signals, script: str) -> Play:
    """A signal to the monitor, once the container has said that it is ready for it."""

    def play(stage: Stage) -> None:
        container = stage.container
        # a shell would start it with SIGINT and SIGQUIT ignored
        container.options["-r"] = str(STANDIN / "terminal")
        container.command(script)
        stage.launch()
        stage.message()
        container.wait_log(b" F ready\n")
        container.monitor.signal(number)
        stage.finish()

    return play


FORWARDED = "trap 'echo got; exit 9' TERM INT QUIT; echo ready; while :; do sleep 0.02; done"
SCENARIOS += [
    Scenario(
        f"{number.name} to the monitor",
        "A signal that is the container's.",
        signalled(number, FORWARDED),
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
]


@scenario("SIGHUP to the monitor, after which the container is ended.", peer_stays=True)
def hangup(stage: Stage) -> None:
    container = stage.container
    container.fifo("go")
    container.command("echo ready; read -r _ <go; exit 9")
    stage.launch()
    stage.message()
    container.wait_log(b" F ready\n")
    container.monitor.signal(signal.SIGHUP)
    if not container.peer:
        stage.open("go")
    else:
        container.monitor.wait()
    stage.finish()


# Passthrough


@scenario("The log driver passthrough: the container has the caller's stdio.")
def passthrough(stage: Stage) -> None:
    stage.record()
    stage.container.options["-l"] = "passthrough"
    read, write = os.pipe()
    os.write(write, b"in\n")
    os.close(write)
    out, out_write = os.pipe()
    stage.container.command("cat; echo err >&2; exit 3")
    stage.launch(stdin=read, stdout=out_write)
    os.close(read)
    os.close(out_write)
    stage.message()
    stage.notes["caller's stdout"] += read_end(out).decode().splitlines()
    stage.finish()


@scenario("The runtime fails under passthrough.")
def passthrough_fails(stage: Stage) -> None:
    stage.container.options["-l"] = "passthrough"
    stage.container.put("stderr", "boom\n")
    stage.container.put("status", "1")
    stage.launch()
    stage.finish()
