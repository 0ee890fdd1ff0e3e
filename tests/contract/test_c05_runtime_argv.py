"""C5: the argv of the runtime, exactly."""

from __future__ import annotations

import pytest
from harness import Container
from harness_proc import words
from harness_rooms import CID

CASES: dict[str, tuple[list[str], str]] = {
    # options of conmon: argv of the runtime; B is the bundle, P the pid file
    "plain": ([], "create --bundle B --pid-file P CID"),
    "systemd cgroup": (["-s"], "--systemd-cgroup create --bundle B --pid-file P CID"),
    "runtime args": (
        ["--runtime-arg", "--root=/r", "--runtime-arg=--log", "--runtime-arg", "x"],
        "--root=/r --log x create --bundle B --pid-file P CID",
    ),
    "systemd cgroup precedes runtime args": (
        ["--runtime-arg", "--debug", "--systemd-cgroup"],
        "--systemd-cgroup --debug create --bundle B --pid-file P CID",
    ),
    "no pivot, no new keyring: fixed order": (
        ["--no-new-keyring", "--no-pivot"],
        "create --bundle B --pid-file P --no-pivot --no-new-keyring CID",
    ),
    "runtime opts": (
        ["--runtime-opt", "--preserve-fds", "--runtime-opt", "2"],
        "create --bundle B --pid-file P --preserve-fds 2 CID",
    ),
    "all of create": (
        ["--no-pivot", "--no-new-keyring", "-s", "--runtime-opt", "--o", "--runtime-arg", "--a"],
        "--systemd-cgroup --a create --bundle B --pid-file P --no-pivot --no-new-keyring --o CID",
    ),
    "restore": (
        ["--restore", "/image"],
        "restore --bundle B --pid-file P --detach --image-path /image --work-path B CID",
    ),
    "all of restore": (
        [
            *("--restore=/image", "-s", "--runtime-arg", "--a", "--no-pivot", "--no-new-keyring"),
            *("--runtime-opt", "--tcp-established", "--runtime-opt", "--file-locks"),
        ],
        (
            "--systemd-cgroup --a restore --bundle B --pid-file P --no-pivot --no-new-keyring"
            " --detach --image-path /image --work-path B --tcp-established --file-locks CID"
        ),
    ),
    "restore args share the list of runtime opts": (
        ["--restore", "/i", "--runtime-opt", "1", "--restore-arg", "2", "--runtime-opt", "3"],
        "restore --bundle B --pid-file P --detach --image-path /i --work-path B 1 2 3 CID",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_runtime_argv(container: Container, name: str) -> None:
    """C5: global arguments, verb, its arguments, the caller's, the id."""
    options, expected = CASES[name]
    container.record()
    container.command("exit 0")
    assert container.run(*options) == 0
    places = {"B": str(container.bundle), "P": str(container.pidfile), "CID": CID}
    argv = [places.get(word, word).encode() for word in expected.split()]
    assert words(container.seen / "runtime.argv") == argv


def test_arguments_are_not_split(container: Container) -> None:
    """C5: an argument with spaces, quotes, newlines or nothing in it stays one argument."""
    odd = ["two words", "'q\"", "line\nbreak", "", "-", "--"]
    container.record()
    container.command("exit 0")
    assert container.run(*(f"--runtime-opt={word}" for word in odd)) == 0
    argv = words(container.seen / "runtime.argv")
    assert argv[5:-1] == [word.encode() for word in odd]


def test_default_pid_file(container: Container) -> None:
    """C2: without -p the runtime is given `pidfile-<cid>` in the working directory."""
    del container.options["-p"]
    container.record()
    container.command("exit 0")
    assert container.run(cwd=container.root / "run") == 0
    pidfile = container.root / "run" / f"pidfile-{CID}"
    container.allow(f"run/{pidfile.name}")
    assert words(container.seen / "runtime.argv")[4] == bytes(pidfile)
    assert pidfile.read_bytes().isdigit()


def test_default_bundle(container: Container) -> None:
    """C2: without -b the bundle is the working directory."""
    del container.options["-b"]
    container.record()
    container.command("exit 0")
    assert container.run(cwd=container.bundle) == 0
    assert words(container.seen / "runtime.argv")[2] == bytes(container.bundle)
