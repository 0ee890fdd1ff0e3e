"""Numbered lines through podman: run, exec, terminals, moved logs, a journald that restarts."""

from __future__ import annotations

import os
import random
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness_os import Deadline
from real_podman.bed import IMAGE, Bed
from real_podman.client import Podman
from real_podman.combinations import cannot
from real_podman.conftest import COMMANDS
from real_podman.journal import DAEMON, Journal, message
from real_podman.terminal import Terminal
from real_podman.wait import until

from .check import Piece, Streams, complete, expect, pieces, same
from .conftest import Proof

pytestmark = pytest.mark.ours("it loses output, and does not count it")

STREAM = {"6": "stdout", "3": "stderr"}
GENERATOR = "/shared/numbered"
INPUTS = (os.devnull, "/dev/zero", __file__)  # at its end at once, without an end, short
CLIENT_S = 120
SOCKETS = ("/run/systemd/journal/socket", "/run/systemd/journal/io.systemd.journal")


class Host:
    """podman as root, with the generator in a directory that all containers share."""

    def __init__(self, bed: Bed, runtime: str, numbered: Path) -> None:
        self.bed = bed
        self.podman = Podman(bed, runtime, None)
        self.numbered = numbered
        self.shared = self.podman.dir / "shared"
        shutil.copy(numbered, self.shared)
        self.volume = ("-v", f"{self.shared}:/shared")

    def fresh(self, name: str) -> Path:
        """A log's path that nobody has used."""
        return self.podman.dir / f"{name}.log"


@pytest.fixture(scope="module")
def bed(conmon_path: Path) -> Iterator[Bed]:
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        cannot(f"needs root and podman {missing}")
    bed = Bed(conmon_path)
    yield bed
    bed.close()


@pytest.fixture(scope="module")
def hosts(bed: Bed, numbered: Path) -> list[Host]:
    return [Host(bed, runtime, numbered) for runtime in ("crun", "runc")]


class Writer:
    """What a container is to write, and its command."""

    def __init__(self, host: Host, seed: int, choice: random.Random, terminal: bool) -> None:
        most = choice.choice((10, 2000, 100_000, 2_000_000))
        self.sizes = {"stdout": choice.randrange(most)}
        if not terminal:
            self.sizes["stderr"] = choice.randrange(1 + most // 3)
        self.status = choice.randrange(90)
        self.expected: Streams = expect(host.numbered, seed, self.sizes)
        words = (seed, self.sizes["stdout"], self.sizes.get("stderr", 0), 0, self.status)
        self.command = (GENERATOR, "write", *map(str, words))


def read_slowly(process: subprocess.Popen[bytes], choice: random.Random) -> Streams:
    """Both streams of podman to their ends, by somebody who pauses now and then."""
    assert process.stdout and process.stderr
    found = {"stdout": b"", "stderr": b""}
    open_ = {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"}
    pauses = choice.choice((0, 20))
    while open_:
        ready = select.select(list(open_), [], [], CLIENT_S)[0]
        assert ready, f"podman says nothing more after {found['stdout'][-100:]!r}"
        for fd in ready:
            data = os.read(fd, 65536)
            found[open_[fd]] += data
            if not data:
                del open_[fd]
        if pauses:
            pauses -= 1
            time.sleep(choice.uniform(0, 0.05))  # slow, not waiting for anything
    assert process.wait(CLIENT_S) >= 0
    return found


def run_attached(podman: Podman, words: tuple[str, ...], writer: Writer, choice: random.Random,
                 what: str) -> None:  # fmt: skip
    """A command of podman with input that nobody reads: its output, and its exit code."""
    with (
        open(choice.choice(INPUTS), "rb") as given,
        subprocess.Popen(
            podman.argv((*words, *writer.command)),
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        found = read_slowly(process, choice)
    for name, data in found.items():
        same(data, writer.expected[name], f"{name} of podman {what}")
    assert process.returncode == writer.status


def test_run_and_exec(proof: Proof, hosts: list[Host]) -> None:
    """C12, C6: podman's run -i and exec -i show every byte, whatever input is left unread."""

    def play(seed: int, choice: random.Random) -> None:
        host = choice.choice(hosts)
        writer = Writer(host, seed, choice, terminal=False)
        log, name = host.fresh("attached"), host.podman.name()
        options = ("--log-opt", f"path={log}", *host.volume)
        run_attached(host.podman, ("run", "--rm", "-i", *options, IMAGE), writer, choice, "run")
        complete(pieces(log.read_bytes()), writer.expected, "the log")
        log.unlink()
        host.podman.run_detached(*host.volume, IMAGE, "sleep", "1000", name=name)
        for number in range(3):
            writer = Writer(host, seed + number, choice, terminal=False)
            run_attached(host.podman, ("exec", "-i", name), writer, choice, "exec")
        host.podman("rm", "-f", "-t", "0", name)
        host.podman.wait_no_monitor()

    proof.run(play)


def test_terminals(proof: Proof, hosts: list[Host]) -> None:
    """C13: podman's run -it and exec -it show every byte."""

    def show(podman: Podman, words: tuple[str, ...], writer: Writer) -> None:
        with Terminal(podman, *words, *writer.command) as terminal:
            code, shown = terminal.end()
        # Before podman has made it raw, and after that, the caller's terminal adds to newlines.
        same(shown.replace(b"\r\n", b"\n"), writer.expected["stdout"], f"podman {words[0]}")
        assert code == writer.status

    def play(seed: int, choice: random.Random) -> None:
        host = choice.choice(hosts)
        name = host.podman.name()
        options = ("--rm", "-it", *host.volume)
        show(host.podman, ("run", *options, IMAGE), Writer(host, seed, choice, terminal=True))
        host.podman.run_detached(*host.volume, IMAGE, "sleep", "1000", name=name)
        writer = Writer(host, seed, choice, terminal=True)
        show(host.podman, ("exec", "-it", name), writer)
        host.podman("rm", "-f", "-t", "0", name)
        host.podman.wait_no_monitor()

    proof.run(play)


def test_moved_log(proof: Proof, hosts: list[Host]) -> None:
    """C11: logs of podman's that are moved away and reopened have every byte together."""

    def play(seed: int, choice: random.Random) -> None:
        host = choice.choice(hosts)
        writer = Writer(host, seed, choice, terminal=False)
        log, name = host.fresh("moved"), host.podman.name()
        options = (*host.volume, "--log-opt", f"path={log}")
        host.podman.run_detached(*options, IMAGE, *writer.command, name=name)
        ctl, monitors = host.podman.bundle(name) / "ctl", host.podman.monitors
        moved: list[Path] = []
        deadline = Deadline(CLIENT_S)
        while monitors():
            assert not deadline.passed(), f"{monitors()} does not end"
            moved.append(log.with_suffix(f".{len(moved)}"))
            if log.exists():
                log.rename(moved[-1])
            reopen(ctl)
            time.sleep(choice.uniform(0, 0.05))  # how often, not a wait for something
        files = [path for path in [*moved, log] if path.exists()]
        found = b"".join(path.read_bytes() for path in files)
        assert host.podman.wait(name) == writer.status
        host.podman("rm", name)
        complete(pieces(found), writer.expected, "the logs")
        for path in files:
            path.unlink()

    proof.run(play)


def reopen(ctl: Path) -> None:
    """Have the log reopened, if the monitor still lives."""
    try:
        fd = os.open(ctl, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(fd, b"2 0 0\n")
    except BrokenPipeError:
        pass
    finally:
        os.close(fd)


@pytest.fixture
def journal(bed: Bed) -> Iterator[Daemon]:
    if not DAEMON.exists():
        cannot("systemd-journald is not installed")
    daemon = Daemon(bed)
    yield daemon
    daemon.journal.close()


class Daemon:
    """A journald that can be restarted while nobody sends: what it has not taken goes with it."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self.journal = Journal(bed)

    def restart(self) -> None:
        monitors = [monitor.pid for monitor in self._bed.monitors()]
        self._signal(monitors, "STOP")
        until(lambda: all(self._state(pid) in "TX" for pid in monitors), "the monitors to stop")
        self.journal.sync()
        self.journal.close()
        self._bed.run("rm", "-f", *SOCKETS)
        self.journal = Journal(self._bed)
        until(lambda: all(self._exists(name) for name in SOCKETS), "all of journald's sockets")
        self._signal(monitors, "CONT")

    def _exists(self, path: str) -> bool:
        return (self._bed.proc(1) / f"root{path}").exists()

    def _signal(self, pids: list[int], name: str) -> None:
        for pid in pids:
            if self._state(pid) != "X":
                subprocess.run([*self._bed.enter(Path("/")), "kill", f"-{name}", str(pid)],
                               stderr=subprocess.DEVNULL, check=False)  # fmt: skip

    def _state(self, pid: int) -> str:
        try:
            return (self._bed.proc(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "X"


def test_journald(proof: Proof, hosts: list[Host], journal: Daemon) -> None:
    """C18: a journal that restarts meanwhile has every byte of podman's container."""

    def play(seed: int, choice: random.Random) -> None:
        host = choice.choice(hosts)
        writer = Writer(host, seed, choice, terminal=False)
        name = host.podman.name()
        options = (*host.volume, "--log-driver", "journald")
        host.podman.run_detached(*options, IMAGE, *writer.command, name=name)
        for _ in range(choice.randrange(3)):
            journal.restart()
        assert host.podman.wait(name) == writer.status
        host.podman.wait_no_monitor()
        entries = journal.journal.entries(host.podman.format(name, "{{.Id}}"))
        host.podman("rm", name)
        found = [Piece(STREAM[entry["PRIORITY"]], message(entry)) for entry in entries]
        complete(found, writer.expected, "the journal")

    proof.run(play)
