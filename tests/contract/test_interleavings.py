"""C8, C12, C13, C16, C17, C21: one monitor, driven through random orders of all that can happen.

A hypothesis state machine drives one monitor, whose container does what it is told
(standin/puppet), and compares with what a model of a few lists says: every byte that the container
wrote is in the log once and in its order, and with every client that came before it; every byte
that a client sent is with the container, in its order. conmon can be stopped for a while, so that
anything may have come at once when it goes on.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from harness import Container, Guard
from harness_log import written
from harness_os import TIMEOUT_S, Process
from harness_puppet import Puppet
from harness_terminal import control
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

CLIENTS = 4
STREAMS = {2: "stdout", 3: "stderr"}
SIZES = st.one_of(st.integers(1, 300), st.sampled_from([4096, 8191, 8192, 8193, 32768, 70000]))


class Client:
    """An attach client, and what the model knows of it."""

    def __init__(self, container: Container, number: int, accepted: bool, before: dict[int, int]):
        self.attached = container.attach(accepted=accepted)
        self.number = number
        self.accepted = accepted
        #: bytes of each stream that the container had written before this client came
        self.before = before
        self.sent = bytearray()
        self.input_ended = False


class Machine(RuleBasedStateMachine):
    conmon: Path
    directory: Path

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=self.directory))
        self.guard = Guard()
        self.guard.__enter__()
        self.container = Container(self.conmon, self.root, self.guard)
        self.clients: list[Client] = []
        self.gone: list[Client] = []
        self.written = {2: bytearray(), 3: bytearray()}
        self.stdin = bytearray()
        self.stdin_ended = False
        self.logs: list[Path] = []
        self.stopped = False
        self.terms = 0
        self.count = 0

    @initialize(rotate=st.booleans(), latency=st.sampled_from([0, 5, 300]))
    def start(self, rotate: bool, latency: int) -> None:
        container = self.container
        container.options["--log-latency"] = str(latency)
        container.options["-i"] = None
        container.allow("bundle/puppet")
        container.command(f"exec {Puppet.PROGRAM} puppet")
        if rotate:
            container.launch("--log-rotate", "--log-max-files", "1000", "--log-size-max", "40000")
        else:
            container.launch()
        self.process = Process(container.started())
        self.puppet = Puppet(container)
        self.monitor = container.monitor

    # The container

    @rule(stream=st.sampled_from([2, 3]), size=SIZES, cut=st.booleans())
    def write(self, stream: int, size: int, cut: bool) -> None:
        """Numbered bytes, so that none can be lost, doubled or moved unseen."""
        self.count += 1
        line = b"%d " % self.count
        data = (line * (size // len(line) + 1))[: size - 1] + (b"x" if cut else b"\n")
        done = self.puppet.write(stream, data)
        self.written[stream] += data[:done]

    @rule()
    def read(self) -> None:
        data = self.puppet.read()
        if data is None:
            self.stdin_ended = True
        else:
            self.stdin += data

    # Clients

    @precondition(lambda self: len(self.clients) < CLIENTS)
    @rule()
    def connect(self) -> None:
        before = {stream: len(data) for stream, data in self.written.items()}
        self.count += 1
        self.clients.append(Client(self.container, self.count, not self.stopped, before))

    @precondition(lambda self: self.clients)
    @rule(index=st.integers(0, CLIENTS - 1), size=st.integers(1, 9000))
    def send(self, index: int, size: int) -> None:
        client = self.clients[index % len(self.clients)]
        if client.input_ended:
            return
        tag = b"<%d>" % client.number
        data = (tag * (size // len(tag) + 1))[: max(size // len(tag), 1) * len(tag)]
        if client.attached.try_send(data):
            client.sent += data

    @precondition(lambda self: self.clients)
    @rule(index=st.integers(0, CLIENTS - 1))
    def end_input(self, index: int) -> None:
        client = self.clients[index % len(self.clients)]
        client.attached.end_input()
        client.input_ended = True

    @precondition(lambda self: self.clients)
    @rule(index=st.integers(0, CLIENTS - 1))
    def receive(self, index: int) -> None:
        self.clients[index % len(self.clients)].attached.at_end()

    @precondition(lambda self: self.clients)
    @rule(index=st.integers(0, CLIENTS - 1))
    def leave(self, index: int) -> None:
        client = self.clients.pop(index % len(self.clients))
        client.attached.close()
        self.gone.append(client)

    # Others

    @rule(line=st.sampled_from([b"1 24 80\n", b"2 0 0\n", b"9 9\n", b"2 0", b" 0\n", b"x" * 250]))
    def ctl(self, line: bytes) -> None:
        if not self.stopped:
            control(self.container, line)

    @precondition(lambda self: not self.stopped)
    @rule()
    def rename_log(self) -> None:
        """As logrotate does: move the log away, and ask for a new one."""
        log = self.container.log
        moved = self.root / f"moved.{len(self.logs)}"
        try:
            log.rename(moved)
        except FileNotFoundError:  # not there yet, or rotated just now
            return
        self.logs.append(moved)
        control(self.container, b"\n2 0 0\n")
        self.container.wait_name(log)

    @rule(number=st.sampled_from([signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD]))
    def signal(self, number: signal.Signals) -> None:
        self.monitor.signal(number)
        self.terms += number == signal.SIGTERM

    @precondition(lambda self: not self.stopped)
    @rule()
    def stop(self) -> None:
        self.monitor.signal(signal.SIGSTOP)
        self.stopped = True

    @precondition(lambda self: self.stopped)
    @rule()
    def go_on(self) -> None:
        self.monitor.signal(signal.SIGCONT)
        self.stopped = False

    # The end

    def teardown(self) -> None:
        try:
            if hasattr(self, "puppet"):
                self.end()
        finally:
            self.close()

    def end(self) -> None:
        """The container ends; what conmon owes to whom is there."""
        code = self.count % 200
        self.puppet.quit(code)
        self.process.wait_gone()
        self.monitor.signal(signal.SIGCONT)
        assert self.container.end() == code
        self.check_log()
        for client in self.clients:
            client.attached.read_all()
            self.check_client(client)
        self.check_stdin()
        for client in self.clients:
            client.attached.close()
        assert not self.guard.left(TIMEOUT_S)
        assert not self.container.unexpected()

    def check_log(self) -> None:
        """Rotated, moved away or not: everything is there, once, in its order."""
        rotated = sorted(
            self.container.log.parent.glob("ctr.log.*"), key=lambda path: -int(path.suffix[1:])
        )
        for path in rotated:
            self.container.allow(f"logs/{path.name}")
        for path in self.logs:
            self.container.allow(path.name)
        files = [path for path in [*rotated, self.container.log] if has_records(path)]
        moved = [path for path in self.logs if has_records(path)]
        whole = {name: bytes(self.written[stream]) for stream, name in STREAMS.items()}
        for order in islice(merged(files, moved), 1000):
            log = b"".join(path.read_bytes() for path in order)
            found = {name: written(log, name) for name in STREAMS.values()}
            if found == whole:
                return
        assert found == whole

    def check_client(self, client: Client) -> None:
        for stream, data in self.written.items():
            got = client.attached.stream(stream)
            assert bytes(data).endswith(got), (client.number, stream)
            if client.accepted:
                assert len(got) >= len(data) - client.before[stream], (client.number, stream)

    def check_stdin(self) -> None:
        """What came from each client is what it sent, up to some point."""
        for client in [*self.clients, *self.gone]:
            tag = b"<%d>" % client.number
            assert self.stdin.count(tag) * len(tag) <= len(client.sent)
        whole = {b"<%d>" % client.number for client in [*self.clients, *self.gone]}
        rest = bytes(self.stdin)
        for tag in whole:
            rest = rest.replace(tag, b"")
        assert rest == b"" or any(tag.startswith(rest) for tag in whole), rest

    def close(self) -> None:
        for client in self.clients:
            client.attached.close()
        if hasattr(self, "puppet"):
            self.puppet.close()
            self.process.close()
        self.container.close()
        self.guard.__exit__(None, None, None)
        shutil.rmtree(self.root)


def has_records(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def first_time(path: Path) -> bytes:
    """The time of a log's first record."""
    return path.read_bytes()[:35]


def merged(rotated: list[Path], moved: list[Path]) -> Iterator[list[Path]]:
    """Each order that two lists of logs may have been written in, by their times.

    What conmon has read at once has one time, also where it was too much for one file.
    """
    if not rotated or not moved:
        yield [*rotated, *moved]
        return
    one, other = first_time(rotated[0]), first_time(moved[0])
    if one <= other:
        yield from ([rotated[0], *rest] for rest in merged(rotated[1:], moved))
    if other <= one:
        yield from ([moved[0], *rest] for rest in merged(rotated, moved[1:]))


def test_any_order(conmon_path: Path, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """C8, C12, C13, C16, C17, C21.1: whatever comes in whatever order, nothing is lost."""
    Machine.conmon = conmon_path
    Machine.directory = tmp_path
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=pytestconfig.getoption("--examples"),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        ),
    )
