"""The many ways to call a runtime, and containers whose beginning was not seen."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from harness_os import TIMEOUT_S
from harness_watch import ADD, PRE_CREATE, REMOVE, Notify, Recorder, Room, wait_until

from conmon.host import procfs
from conmon.host.namespaces import PidSpace
from conmon.watch import ContainerNotifier, Source

IN_THREAD = """
import os, sys, threading, time
threading.Thread(target=os.execv, args=(sys.argv[1], sys.argv[1:])).start()
time.sleep(1000)
"""
BY_FD = """
import os, sys
os.execve(os.open(sys.argv[1], os.O_RDONLY), sys.argv[1:], os.environ)
"""


def test_create_without_a_pid_file(room: Room, notify: Notify) -> None:
    """The pid comes from the runtime's state then; ADD is still ahead of the entry point."""
    recorder = Recorder()
    notify(recorder)
    room.runc("create", "--bundle", room.bundle("c1", "true"), "c1")
    added = recorder.wait(ADD, "c1")
    assert added.paused and added.pid_file == ""
    assert added.container_pid > 0
    room.start("c1")
    assert recorder.wait(REMOVE, "c1").container_pid == added.container_pid


def test_relative_paths(room: Room, notify: Notify) -> None:
    """Bundle and pid file are meant from the caller's working directory."""
    recorder = Recorder()
    notify(recorder)
    bundle = room.bundle("c1", "true", hostname="relative")
    room.runc("create", "--pid-file", "../pid", "c1", cwd=bundle)
    added = recorder.wait(ADD, "c1")
    assert added.bundle == str(bundle)
    assert added.pid_file == str(bundle.parent / "pid")
    assert added.container_pid == int((bundle.parent / "pid").read_text())
    assert added.container_config is not None
    assert added.container_config["hostname"] == "relative"


@pytest.mark.parametrize("with_file", [False, True])
@pytest.mark.parametrize("detached", [False, True])
def test_run(room: Room, notify: Notify, with_file: bool, detached: bool) -> None:
    """`run` makes and starts in one: ADD comes while the container is there, not paused."""
    recorder = Recorder()
    notify(recorder)
    bundle = room.bundle("c1", "sleep 1000")
    options = [f"--pid-file={bundle / 'pid'}"] if with_file else []
    options += ["--detach"] if detached else []
    with room.begin("run", *options, f"--bundle={bundle}", "c1") as run:
        added = recorder.wait(ADD, "c1")
        assert not added.paused
        assert added.bundle == str(bundle)
        if detached:
            assert run.wait(TIMEOUT_S) == 0
        os.kill(added.container_pid, signal.SIGKILL)
        recorder.wait(REMOVE, "c1")
        run.wait(TIMEOUT_S)
    assert recorder.of("c1") == [ADD, REMOVE]


def test_stale_pid_file(room: Room, notify: Notify) -> None:
    """A pid file that is left over is not taken for that of a container whose creation failed."""
    recorder = Recorder()
    notify(recorder)
    bundle = room.bundle("bad", "true", root={"path": "/nonexistent"})
    (bundle / "pid").write_text(str(os.getpid()))
    with room.begin("create", "--bundle", bundle, "--pid-file", bundle / "pid", "bad") as create:
        assert create.wait(TIMEOUT_S) != 0
    room.create("c1")
    room.start("c1")
    recorder.wait(REMOVE, "c1")
    assert recorder.of("bad") == []


@pytest.mark.parametrize("script", [IN_THREAD, BY_FD], ids=["thread", "execveat"])
def test_other_ways_to_execute(room: Room, notify: Notify, script: str) -> None:
    """A thread that is not its process's first may execute the runtime, and execveat(2) may."""
    recorder = Recorder()
    notify(recorder)
    bundle = room.bundle("c1", "true")
    words = room.words("create", "--bundle", bundle, "--pid-file", bundle / "pid", "c1")
    subprocess.run(
        [sys.executable, "-c", script, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        check=True,
    )
    assert recorder.wait(ADD, "c1").bundle == str(bundle)


def test_runtime_behind_a_script(room: Room, notify: Notify) -> None:
    """A wrapper that executes the watched runtime, and the runtime itself, make one container."""
    recorder = Recorder()
    wrapper = room.dir / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n"{room.runtime}" "$@"\n')
    wrapper.chmod(0o755)
    notify(recorder, runtime_paths=[wrapper, room.runtime], pre_create=True)
    runtime, room.runtime = room.runtime, wrapper
    room.create("c1")
    room.start("c1")
    recorder.wait(REMOVE, "c1")
    room.runtime = runtime
    assert recorder.of("c1") == [PRE_CREATE, ADD, REMOVE]


def test_container_that_was_created_unseen(room: Room, notify: Notify, any_conmon: Path) -> None:
    """Its start is seen: ADD comes before the entry point, with what can still be known."""
    pid = room.monitored(any_conmon, "c1", "exit 3", "happy_name", hostname="unseen")
    recorder = Recorder()
    notify(recorder)
    room.start("c1")
    removed = recorder.wait(REMOVE, "c1")
    added = recorder.events[0]
    assert recorder.of("c1") == [ADD, REMOVE]
    assert added.paused
    assert added.container_pid == pid
    assert added.bundle == str(room.dir / "bundles" / "c1")
    assert added.container_config is not None
    assert added.container_config["hostname"] == "unseen"
    assert added.container_name == "happy_name" and added.conmon_pid > 0
    assert removed.exit_status == 3


def test_ids_and_other_subcommands_are_let_through(room: Room, notify: Notify) -> None:
    """Whatever else is executed, or is no valid id, goes on and makes no event."""
    recorder = Recorder()
    notifier = notify(recorder, pre_create=True)
    for words in (["--version"], ["list"], ["create", "../x"], ["start", "no/id"], ["start"], []):
        subprocess.run(room.words(*words), capture_output=True, timeout=TIMEOUT_S, check=False)
    assert recorder.events == []
    assert notifier.statistics().unread == 0


def test_name_of_the_annotations(room: Room, notify: Notify) -> None:
    """Where no monitor gave a name, the engine's annotation does."""
    recorder = Recorder()
    notify(recorder)
    room.create("c1", annotations={"io.kubernetes.cri-o.ContainerName": "k8s_name"})
    assert recorder.wait(ADD, "c1").container_name == "k8s_name"


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "\xff"])
def test_bad_configuration(room: Room, notify: Notify, text: str) -> None:
    """A config.json that is none is None; the event comes all the same."""
    recorder = Recorder()
    notify(recorder, pre_create=True)
    bundle = room.bundle("c1", "true")
    (bundle / "config.json").write_text(text, encoding="latin-1")
    with room.begin("create", "--bundle", bundle, "c1") as create:
        assert create.wait(TIMEOUT_S) != 0
    assert recorder.wait(PRE_CREATE, "c1").container_config is None


def test_bundle_with_a_fifo(room: Room, notify: Notify) -> None:
    """A config.json that nobody writes to holds nothing up."""
    recorder = Recorder()
    notify(recorder, pre_create=True)
    bundle = room.bundle("bad", "true")
    (bundle / "config.json").unlink()
    os.mkfifo(bundle / "config.json")
    with room.begin("create", "--bundle", bundle, "bad"):
        recorder.wait(PRE_CREATE, "bad")
    room.create("c1")
    recorder.wait(ADD, "c1")


def test_files_that_the_caller_may_not_read(room: Room, notify: Notify) -> None:
    """A user's bundle does not make the notifier read what that user may not, nor open devices."""
    with TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        secret = place / "secret.json"
        secret.write_text('{"hostname": "secret"}')
        secret.chmod(0o640)  # for root's group
        room.runtime = Path(shutil.move(room.runtime, place))
        recorder = Recorder()
        with ContainerNotifier(recorder, runtime_paths=[room.runtime], pre_create=True):
            for kind in ("plain", "secret", "device"):
                bundle = place / kind
                bundle.mkdir()
                config = bundle / "config.json"
                if kind == "plain":
                    config.write_text('{"hostname": "plain"}')
                elif kind == "secret":
                    config.symlink_to(secret)
                else:
                    os.mknod(config, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # zeros for ever
                argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
                argv += room.words("create", "--bundle", bundle, kind)
                subprocess.run(argv, capture_output=True, timeout=TIMEOUT_S, check=False)
                event = recorder.wait(PRE_CREATE, kind)
                assert event.uid == 65534
                expected = {"hostname": "plain"} if kind == "plain" else None
                assert event.container_config == expected


def test_runtime_in_other_namespaces(room: Room, notify: Notify) -> None:
    """Pids are those of the watcher, files those of the caller's mount namespace."""
    recorder = Recorder()
    notify(recorder)
    bundle = room.bundle("c1", "sleep 1000", hostname="inside")
    hidden = room.dir / "hidden"
    hidden.mkdir()
    create = room.words("create", "--bundle", hidden / "b", "--pid-file", hidden / "b/pid", "c1")
    # absolute links are meant in the caller's root, and the bundle is on a mount of its own
    script = (
        f"mount -t tmpfs none {hidden} && cp -r {bundle} {hidden}/real &&"
        f" ln -s {hidden}/real {hidden}/b && {' '.join(create)} </dev/null >/dev/null 2>&1 &&"
        f" echo $(cat {hidden}/b/pid) && exec sleep 1000"
    )
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with subprocess.Popen([*argv, "sh", "-c", script], stdout=subprocess.PIPE) as outer:
        try:
            added = recorder.wait(ADD, "c1")
            assert outer.stdout is not None
            inner_pid = int(outer.stdout.readline())
            ns_pids = procfs.status(added.container_pid).ns_pids
            assert ns_pids == (added.container_pid, inner_pid, 1)
            assert added.bundle == str(hidden / "b")
            assert added.container_config is not None
            assert added.container_config["hostname"] == "inside"
        finally:
            outer.kill()
    assert recorder.wait(REMOVE, "c1").exit_signal == signal.SIGKILL


def test_pid_of_another_namespace_by_search(room: Room) -> None:
    """Without help of the kernel a pid of another PID namespace is found among all processes."""
    argv = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "sleep 1000 & echo $!; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as outer:
        try:
            assert outer.stdout is not None
            inner_pid = int(outer.stdout.readline())
            children = f"/proc/{outer.pid}/task/{outer.pid}/children"
            first = int(Path(children).read_text().split()[0])
            space = PidSpace(first)
            found = space.search(inner_pid)
            assert found == space.translate(inner_pid)
            wait_until(lambda: procfs.command_line(found) == ["sleep", "1000"], "the very process")
            with pytest.raises(ProcessLookupError):
                space.search(4_000_000)
            with pytest.raises(ProcessLookupError):
                space.translate(4_000_000)
            space.close()
        finally:
            outer.kill()


def test_termination_of_a_container_that_was_there(room: Room, notify: Notify) -> None:
    """It is told once, however often it is asked for."""
    pid = room.create("old", "sleep 1000")
    recorder = Recorder()
    notifier = notify(recorder)
    for _ in range(3):
        notifier.add_watch_container_termination("old", pid)
    os.kill(pid, signal.SIGKILL)
    removed = recorder.wait(REMOVE, "old")
    assert removed.container_pid == pid
    assert removed.exit_signal == signal.SIGKILL
    room.create("c1")
    recorder.wait(ADD, "c1")
    assert recorder.of("old") == [REMOVE]


def test_termination_of_what_is_no_container(notify: Notify) -> None:
    """No such process, or an id that no runtime takes, is an error."""
    notifier = notify(Recorder())
    with subprocess.Popen(["true"]) as process:
        process.wait(TIMEOUT_S)
    with pytest.raises(ProcessLookupError):
        notifier.add_watch_container_termination("c1", process.pid)
    for bad in ("", "..", "a/b", "a b"):
        with pytest.raises(ValueError, match="container id"):
            notifier.add_watch_container_termination(bad, os.getpid())


@pytest.mark.parametrize("mode", ["hold", "notify"])
def test_monitored_containers_that_are_there(
    room: Room, notify: Notify, any_conmon: Path, mode: str
) -> None:
    """With `initial` monitors tell of their containers, wherever the runtime has its state."""
    pid = room.monitored(any_conmon, "old", "sleep 1000", "happy_name", hostname="old")
    recorder = Recorder()
    notify(recorder, initial=True, mode=mode)
    added = recorder.wait(ADD, "old")
    assert (added.container_pid, added.source, added.paused) == (pid, Source.MONITOR, False)
    assert (added.container_name, added.uid) == ("happy_name", 0)
    assert added.bundle == str(room.dir / "bundles" / "old")
    assert added.container_config is not None
    assert added.container_config["hostname"] == "old"
    os.kill(pid, signal.SIGKILL)
    assert recorder.wait(REMOVE, "old").exit_signal == signal.SIGKILL
    assert recorder.of("old") == [ADD, REMOVE]


def test_containers_that_are_there(
    room: Room, notify: Notify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `initial` the first events are of containers that are there, from runtimes' state."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(room.dir))
    room.state = room.dir / "runc"
    pid = room.create("old", "sleep 1000", hostname="old")
    recorder = Recorder()
    notify(recorder, initial=True)
    added = recorder.wait(ADD, "old")
    assert (added.container_pid, added.source, added.paused) == (pid, Source.STATE, False)
    assert added.container_config is not None
    assert added.container_config["hostname"] == "old"
    room.start("old")
    os.kill(pid, signal.SIGKILL)
    recorder.wait(REMOVE, "old")
    assert recorder.of("old") == [ADD, REMOVE]
