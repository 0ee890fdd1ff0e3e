"""A podman pod with exec sessions, under our conmon: its trees are what ps says in there."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Guard
from harness_os import TIMEOUT_S
from harness_tree import by_pid, in_pid_namespace, running, tree_of, wait_tree
from real_podman.client import CONTAINERS_CONF, STORAGE_CONF
from real_podman.image import build_image

from conmon.watch import ProcessTree

IMAGE = "localhost/tree"
#: crun refuses cgroup v1 with a v2 mount beside it. podman's locks and the runtimes' state are
#: kept off the host's; pids are the host's.
PREPARE = """
set -e
umount /sys/fs/cgroup/unified 2>/dev/null || :
mkdir -p /var/lib/containers
for place in /run /dev/shm /var/lib/containers; do mount -t tmpfs tmpfs $place; done
mount --make-rshared /
echo ready
read end
"""


class Podman:
    """podman as root in a mount namespace of its own."""

    def __init__(self, conmon: Path, runtime: str) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="cmt-", dir="/tmp"))
        storage = STORAGE_CONF.format(driver="overlay", place="graphroot", dir=self.dir)
        (self.dir / "storage.conf").write_text(storage)
        (self.dir / "containers.conf").write_text(
            CONTAINERS_CONF.format(runtime=runtime, conmon=conmon, dir=self.dir)
        )
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", PREPARE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout and self._holder.stdout.readline() == b"ready\n"
        build_image(self.dir / "image.tar", ())
        self("import", str(self.dir / "image.tar"), IMAGE)

    def state_roots(self) -> list[str]:
        """Where the runtimes keep their state, as seen from outside."""
        return [f"/proc/{self._holder.pid}/root/run/{name}" for name in ("runc", "crun")]

    def argv(self, *words: str) -> list[str]:
        settings = [
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            f"HOME={self.dir}",
            f"CONTAINERS_CONF={self.dir}/containers.conf",
            f"CONTAINERS_STORAGE_CONF={self.dir}/storage.conf",
        ]
        enter = ["nsenter", "--mount", "--target", str(self._holder.pid), "--wd=/"]
        return [*enter, "env", "-i", *settings, "podman", *words]

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            self.argv(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.strip()

    def close(self) -> None:
        try:
            self("pod", "rm", "--all", "--force", "--time", "0")
        finally:
            self._holder.communicate(b"\n", timeout=TIMEOUT_S)
            shutil.rmtree(self.dir)


@pytest.fixture(params=["crun", "runc"])
def podman(conmon_path: Path, guard: Guard, request: pytest.FixtureRequest) -> Iterator[Podman]:
    podman = Podman(conmon_path, request.param)
    try:
        yield podman
    finally:
        podman.close()


def test_pod_equals_ps(podman: Podman) -> None:
    """Two containers of a pod, one with a session: by id, name and supervisor, and each tree is
    that of its pid namespace; from events, and from a snapshot."""
    with ProcessTree(state_roots=podman.state_roots()) as tree:
        podman(
            "pod", "create", "--name", "pod", "--infra-image", IMAGE, "--infra-command", "sleep 999"
        )
        script = 'sleep 1000 & (sh -c "sleep 1001 & exit 0"); wait'
        one = podman("run", "-d", "--name", "one", "--pod", "pod", IMAGE, "sh", "-c", script)
        two = podman("run", "-d", "--name", "two", "--pod", "pod", IMAGE, "sleep", "1002")
        session = subprocess.Popen(
            podman.argv("exec", "two", "sh", "-c", "sleep 1003; true"), stdin=subprocess.DEVNULL
        )
        wait_tree(tree, one, lambda p: running(p, "sleep 1000", "sleep 1001"))
        wait_tree(tree, two, lambda p: running(p, "sleep 1002", "sleep 1003"))
        with ProcessTree(state_roots=podman.state_roots()) as late:
            for watcher in (tree, late):
                assert_like_ps(watcher, podman, one, "one")
                assert_like_ps(watcher, podman, two, "two")
        podman("kill", "two")
        session.wait(TIMEOUT_S)
        wait_tree(tree, two, lambda p: not p)


def assert_like_ps(tree: ProcessTree, podman: Podman, container: str, name: str) -> None:
    found = tree_of(tree, container)
    assert found is not None and found.container.name == name
    init, monitor = podman(
        "inspect", "--format", "{{.State.Pid}} {{.State.ConmonPid}}", container
    ).split()
    assert (found.container.pid, found.supervisor) == (int(init), int(monitor))
    expected = in_pid_namespace(int(init))
    assert {p.pid: (p.ppid, p.nspid) for p in by_pid(found).values()} == {
        p.pid: (p.ppid, p.nspid) for p in expected.values()
    }
