"""Other things that podman has conmon do: timeout, fds, notify, pods, health, OOM."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import crilog
from .bed import IMAGE
from .client import Podman
from .combinations import ROOT, combination_id
from .wait import until


def test_init(podman: Podman) -> None:
    """C16: with --init a signal's death inside is reported as 128+N."""
    result = podman("run", "--rm", "--init", IMAGE, "sh", "-c", "kill -TERM $$", code=143)
    assert result.out == b""


def test_timeout(podman: Podman) -> None:
    """C2, C17.4: after --timeout the container is killed, and that is an exit."""
    name = podman.name()
    result = podman(
        "run", "--name", name, "--timeout", "4", IMAGE, "sh", "-c", "echo a; exec sleep 1000",
        code=None,
    )  # fmt: skip
    assert result.code not in (0, 125)
    assert result.out == b"a\n"
    podman.wait_no_monitor()
    assert podman.inspect(name)["State"]["Running"] is False


def test_timeout_that_is_not_reached(podman: Podman) -> None:
    """C2: a container that ends in time is not concerned."""
    podman("run", "--rm", "--timeout", "1000", IMAGE, "sh", "-c", "exit 5", code=5)
    podman.wait_no_monitor()


def test_preserve_fds(podman: Podman) -> None:
    """D1, C17.6: a file of the caller's reaches the container as the same descriptor."""
    words = podman.argv(("run", "--rm", "--preserve-fds=1", IMAGE, "cat", "/proc/self/fd/3"))
    at = words.index("podman")
    conf = str(podman.dir / "storage.conf")
    words[at:at] = ["sh", "-c", 'exec 3<"$0"; exec "$@"', conf]
    done = subprocess.run(words, check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, Path(conf).read_bytes()), done.stderr


def test_passthrough(podman: Podman) -> None:
    """C19: with the log driver passthrough the container has podman's own streams."""
    name = podman.name()
    result = podman(
        *("run", "-i", "--name", name, "--log-driver", "passthrough"),
        *(IMAGE, "sh", "-c", "cat; echo err >&2; exit 3"),
        stdin=b"in\n",
        code=3,
    )
    assert (result.out, result.err) == (b"in\n", b"err\n")
    bundle = podman.bundle(name)
    assert not [n for n in ("attach", "ctl", "winsz") if (bundle / n).exists()]


# The messages of a service, one after the other.
SAID = (b"STATUS=half way\nMAINPID=1\nX=y\n", b"READY=1\n")


@pytest.fixture
def notified(shared: Path, podman: Podman) -> Iterator[socket.socket]:
    """A service manager's notify socket, at ``shared``/n."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(shared / "n"))
        podman.give(shared / "n")
        listener.settimeout(30)
        yield listener


def test_sdnotify_conmon(podman: Podman, shared: Path, notified: socket.socket) -> None:
    """D1: podman names the monitor as the main process, by its pid."""
    name = podman.name()
    podman(
        "run", "-d", "--name", name, "--sdnotify=conmon", IMAGE, "sleep", "1000",
        env={"NOTIFY_SOCKET": str(shared / "n")},
    )  # fmt: skip
    received = notified.recv(4096).decode().splitlines()
    assert f"MAINPID={podman.monitor(name).pid}" in received


def relayed(podman: Podman, shared: Path, notified: socket.socket) -> list[bytes]:
    """What of SAID reaches the service manager until READY=1, when the container says it."""
    name = podman.name()
    with podman.start(
        *("run", "-d", "--name", name, "--sdnotify=container", IMAGE, "sleep", "1000"),
        env={"NOTIFY_SOCKET": str(shared / "n")},
    ) as process:
        sockets = "*/*/userdata/notify/notify.sock"
        inside = until(
            lambda: list((podman.dir / "graph").glob(sockets)), "the container's notify socket"
        )[0]
        # The test speaks for the container: busybox has nothing that sends a datagram there.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            directory = os.open(inside.parent, os.O_PATH)
            try:
                speaker.connect(f"/proc/self/fd/{directory}/{inside.name}")
            finally:
                os.close(directory)
            for said in SAID:
                speaker.send(said)
            received = []
            while b"READY=1" not in received:
                received.append(notified.recv(4096))
        assert process.wait(timeout=30) == 0
    # podman says MAINPID itself, in a message of its own.
    assert received.count(b"MAINPID=1") == 0
    return [message for message in received if not message.startswith(b"MAINPID=")]


def test_sdnotify_container(podman: Podman, shared: Path, notified: socket.socket) -> None:
    """C14: READY reaches the service manager, and podman returns then; MAINPID does not."""
    assert relayed(podman, shared, notified)[-1] == b"READY=1"


@pytest.mark.ours("2.1.6 relays nothing but READY=1; 2.2.1 does as this test says")
def test_sdnotify_status(podman: Podman, shared: Path, notified: socket.socket) -> None:
    """C14: status texts are relayed, without what else stands in their message."""
    assert relayed(podman, shared, notified) == [b"STATUS=half way", b"READY=1"]


def test_pod(podman: Podman) -> None:
    """D1: containers of a pod, with the pod's infra container, are monitored each on its own."""
    try:
        podman("pod", "create", "--name", "pod", "--infra-image", IMAGE,
               "--infra-command", "sleep 1000")  # fmt: skip
        one = podman.run_detached("--pod", "pod", IMAGE, "sh", "-c", "echo one; exec sleep 1000")
        two = podman.name()
        podman("run", "--name", two, "--pod", "pod", IMAGE, "sh", "-c", "exit 4", code=4)
        until(lambda: len(podman.monitors()) == 2, "the end of the other's monitor")
        podman.wait_log(one, lambda records: records[-1].data == b"one")
        podman("pod", "stop", "--time", "0", "pod")
        podman.wait_no_monitor()
        assert podman.wait(one) == 137
        assert crilog.lines(podman.log(one)) == [("stdout", b"one")]
    finally:
        podman("pod", "rm", "--all", "--force", "--time", "0")


def test_healthcheck(podman: Podman, shared: Path) -> None:
    """D1: a health check is an exec session whose exit code and output podman keeps."""
    name = podman.run_detached(
        *("--health-cmd", "echo looked; test -e /shared/healthy"),
        *("--health-interval", "disable", "--health-retries", "1"),
        *("-v", f"{shared}:/shared", IMAGE, "sleep", "1000"),
    )
    podman("healthcheck", "run", name, code=1)
    podman.give_file(shared / "healthy", b"")
    podman("healthcheck", "run", name)
    health = podman.inspect(name)["State"]["Health"]
    assert [run["ExitCode"] for run in health["Log"]] == [1, 0]
    assert health["Status"] == "healthy"
    until(lambda: len(podman.monitors()) == 1, "the sessions' monitors to end")


@pytest.mark.ours("2.1.6 does not report it; 2.2.1 does")
@pytest.mark.parametrize("combination", ROOT, indirect=True, ids=combination_id)
@pytest.mark.parametrize(
    ("script", "code"), [("exec tail /dev/zero", 137), ("tail /dev/zero; exit 3", 3)]
)
def test_oom(podman: Podman, script: str, code: int) -> None:
    """C15: a kill for want of memory is reported, of the first process or of another.

    As root only: a user has no memory cgroup where no systemd gives him one.
    """
    name = podman.name()
    podman(
        *("run", "--name", name, "--memory", "20m", "--memory-swap", "20m"),
        *(IMAGE, "sh", "-c", script),
        code=code,
    )
    podman.wait_no_monitor()
    assert podman.inspect(name)["State"]["OOMKilled"] is True
