"""Scenarios of exec sessions, in podman's form and in CRI-O's."""

from __future__ import annotations

from differential.stage import Scenario, Stage
from harness_exec import AttachPipe, as_crio_exec, as_podman_exec, launch_crio_exec
from harness_rooms import CID
from harness_terminal import with_terminal

SCENARIOS: list[Scenario] = []


def session(
    name: str, what: str, command: str, *options: str, stdin: bytes | None = None,
    terminal: bool = False,
) -> None:  # fmt: skip
    """A session of podman's: attach pipe, a client before the second go."""

    def play(stage: Stage) -> None:
        container = stage.container
        as_podman_exec(container)
        if terminal:
            with_terminal(container)
        else:
            stage.record()
        container.exit_command("container", "cleanup", "--exec", "session", CID)
        container.command(command)
        pipe = AttachPipe(container)
        stage.view.begin()
        pipe.launch(container, *options, umask=0o022)
        stage.notes["attach pipe"].append(stage.view.text(pipe.message()).rstrip("\n"))
        stage.look("when it is ready")
        client = stage.attach(accepted=False)
        container.go()
        stage.message()
        if stdin is not None:
            client.send(stdin)
            client.end_input()
        stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


session("exec", "A session of podman's.", "echo out; echo err >&2; exit 7")
session("exec with stdin", "With input from the client.", "cat; exit 8", "-i", stdin=b"in\n")
session("exec on a terminal", "On a terminal.", "echo out; exit 6", terminal=True)
session("exec options", "With options for the runtime.", "exit 0", "--runtime-opt", "--cap=x", "-s")


def podman_without_client(name: str, what: str, *, api: bool = True, fails: bool = False) -> None:
    """A session without --exec-attach: podman exec -d, and older callers."""

    def play(stage: Stage) -> None:
        container = stage.container
        as_podman_exec(container)
        if not api:
            del container.options["--api-version"]
        if fails:
            container.put("stderr", "exec failed: no such file\n")
            container.put("status", "255")
        else:
            container.command("echo out; exit 7")
        stage.launch()
        stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


def too_long(name: str, what: str, *, api: bool) -> None:
    """A session that outlives --timeout."""

    def play(stage: Stage) -> None:
        container = stage.container
        as_podman_exec(container)
        if not api:
            del container.options["--api-version"]
        container.command("exec sleep 1000")
        stage.launch("--timeout", "1")
        stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


too_long("exec too long", "A session that outlives --timeout.", api=True)
too_long("exec too long under API 0", "The same under API 0.", api=False)
podman_without_client("exec detached", "A session that nobody attaches to.")
podman_without_client("exec under API 0", "A session of an older caller.", api=False)
podman_without_client("exec fails", "The runtime cannot start it.", fails=True)
podman_without_client("exec fails under API 0", "The same under API 0.", api=False, fails=True)


def _fails_with_client(stage: Stage) -> None:
    container = stage.container
    as_podman_exec(container)
    container.put("stderr", "exec failed: no such file\n")
    container.put("status", "255")
    pipe = AttachPipe(container)
    stage.view.begin()
    pipe.launch(container, umask=0o022)
    stage.notes["attach pipe"].append(stage.view.text(pipe.message()).rstrip("\n"))
    stage.attach(accepted=False)
    container.go()
    stage.finish()


SCENARIOS.append(
    Scenario("exec fails with a client", "podman's form; it cannot start.", _fails_with_client)
)


def crio(name: str, what: str, *options: str, command: str = "", stderr: str = "") -> None:
    """A session of CRI-O's: no bundle, no uuid, API 0, --sync, an empty pid file."""

    def play(stage: Stage) -> None:
        container = stage.container
        as_crio_exec(container)
        stage.record()
        if command:
            container.command(command)
        if stderr:
            container.put("stderr", stderr)
            container.put("status", "255")
        stage.view.begin()
        launch_crio_exec(container, *options, umask=0o022, cwd=container.root / "tmp")
        stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


crio("exec for CRI-O", "A session of CRI-O's.", command="echo out; echo err >&2; exit 7")
crio("exec for CRI-O too long", "It outlives -T.", "-T", "1", command="echo out; exec sleep 1000")
crio("exec for CRI-O fails", "The runtime cannot start it.", stderr="exec failed: boom\n")
crio(
    "exec for CRI-O over the limit", "It writes more than is logged.",
    *("--log-global-size-max", "500"), command="seq 1000; exit 8",
)  # fmt: skip
