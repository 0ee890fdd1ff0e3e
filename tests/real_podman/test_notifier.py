"""Watching podman's containers, in all combinations of runtime, user and conmon."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness_os import TIMEOUT_S
from harness_watch import ADD, CLASSIC_CONMON, EXECVE, PRE_CREATE, REMOVE, Recorder

from conmon.host import procfs
from conmon.watch import ContainerNotifier, Source, support_details
from conmon.watch.events.support import missing

from .bed import IMAGE
from .client import Podman
from .combinations import cannot
from .wait import until


@dataclass(frozen=True)
class Watched:
    """podman with a runtime of its own, which is watched, and one of the conmons."""

    podman: Podman
    runtime: Path
    env: dict[str, str]
    words: tuple[str, ...]

    def run(self, *args: str, code: int = 0) -> str:
        """``podman ARGS``: its output."""
        return self.podman(*self.words, *args, env=self.env, code=code).text

    def any_held(self) -> bool:
        """Whether a process of the bed sleeps in execve."""
        for process in self.podman.bed.processes():
            directory = self.podman.bed.proc(process.pid)
            try:
                state = (directory / "stat").read_text().rpartition(")")[2].split()[0]
                if state == "D" and (directory / "syscall").read_text().split()[0] in EXECVE:
                    return True
            except OSError:
                continue  # gone meanwhile
        return False


@pytest.fixture(params=["ours", "classic"])
def watched(request: pytest.FixtureRequest, podman: Podman) -> Watched:
    if lacking := missing(support_details()):
        cannot("; ".join(lacking))
    conmon = podman.bed.conmon
    if request.param == "classic":
        if not CLASSIC_CONMON.exists():
            cannot("no C conmon is installed (make deps WHAT=test)")
        conmon = CLASSIC_CONMON
    found = shutil.which(podman.runtime)
    assert found is not None
    runtime = podman.bed.dir / "watched" / podman.runtime
    if not runtime.exists():
        runtime.parent.mkdir(exist_ok=True)
        shutil.copy(found, runtime)
    engine = f'[engine.runtimes]\n{podman.runtime} = ["{runtime}"]'
    return Watched(podman, runtime, podman.config(engine), ("--conmon", str(conmon)))


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """Lets callbacks return that wait for it; they do at the end of the test in any case."""
    event = threading.Event()
    yield event
    event.set()


def test_life_of_a_container(watched: Watched, shared: Path, go: threading.Event) -> None:
    """PRE_CREATE, ADD, REMOVE with all fields; the entry point waits for ADD's callback."""
    podman = watched.podman
    name, mark = podman.name(), shared / "mark"
    script = "echo here >/shared/mark; exit 7"
    args = ("--name", name, "-v", f"{shared}:/shared", "--hostname", "happy", IMAGE)
    recorder = Recorder(lambda event: event.type is ADD and go.wait(TIMEOUT_S), name)
    with (
        ContainerNotifier(
            recorder, runtime_paths=[watched.runtime], callback_timeout=60, pre_create=True
        ),
        podman.start(
            *watched.words, "run", "-d", *args, "sh", "-c", script, env=watched.env
        ) as run,
    ):
        added = recorder.wait_count(ADD, 1)[0]
        until(watched.any_held, "the runtime to be held")
        assert not mark.exists()
        go.set()
        out, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
        full_id = out.decode().strip()
        removed = recorder.wait(REMOVE, full_id)
        # the names of files may be asked for as long as the container is there
        inspected = podman.inspect(name)
    assert recorder.of(full_id) == [PRE_CREATE, ADD, REMOVE]
    assert mark.read_text() == "here\n"
    # found by the first look at /proc, it was not held yet when the event was made
    assert added.paused or added.source is Source.MONITOR
    assert removed.exit_status == 7
    config = Path(inspected["OCIConfigPath"])
    for event in recorder.events:
        assert event.container_name == name
        assert event.bundle == str(config.parent)
        assert event.runtime == str(watched.runtime)
        assert event.uid == (podman.user.uid if podman.user else 0)
    for event in recorder.events[:2]:
        assert event.container_config == json.loads(config.read_bytes())


def test_pids_are_those_of_the_watcher(watched: Watched) -> None:
    """podman works in a PID namespace of its own here; the events have the pids of ours."""
    recorder = Recorder()
    with ContainerNotifier(recorder, runtime_paths=[watched.runtime], callback_timeout=60):
        name = watched.podman.name()
        full_id = watched.run("run", "-d", "--name", name, IMAGE, "sleep", "1000")
        added = recorder.wait(ADD, full_id)
        state = watched.podman.inspect(name)["State"]
        ns_pids = procfs.status(added.container_pid).ns_pids
        assert ns_pids == (added.container_pid, state["Pid"], 1)
        assert procfs.status(added.conmon_pid).ns_pids[1] == state["ConmonPid"]
        watched.run("exec", name, "true")
        watched.run("kill", name)
        assert recorder.wait(REMOVE, full_id).exit_signal == 9
    assert recorder.of(full_id) == [ADD, REMOVE]  # nothing of the exec session


def test_restart_and_failure(watched: Watched) -> None:
    """A restart is another container process; a creation that fails is told as PRE_CREATE only."""
    recorder = Recorder()
    with ContainerNotifier(
        recorder, runtime_paths=[watched.runtime], callback_timeout=60, pre_create=True
    ):
        watched.run("run", "--name", "bad", IMAGE, "/nonexistent", code=127)
        full_id = watched.run("run", "-d", IMAGE, "sleep", "1000")
        first = recorder.wait(ADD, full_id)
        watched.run("restart", "--time", "0", full_id)
        second = recorder.wait_count(ADD, 2, full_id)[1]
        watched.run("rm", "--force", "--time", "0", full_id, "bad")
        recorder.wait_count(REMOVE, 2, full_id)
    assert recorder.of(full_id) == [PRE_CREATE, ADD, REMOVE] * 2
    assert first.container_pid != second.container_pid
    failed = [event for event in recorder.events if event.container_name == "bad"]
    assert [event.type for event in failed] == [PRE_CREATE]
