"""C18: the journald log, with a real systemd-journald in a mount namespace of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Container
from harness_os import TIMEOUT_S, Deadline, descendants
from harness_proc import IDLE_MAX_KB, context_switches, no_fd_left, private_dirty_kb, settled
from harness_rooms import CID

DAEMON = Path("/lib/systemd/systemd-journald")
PEER = Path("/usr/bin/conmon")
# E2, less a page: there is no log that has a buffer
JOURNAL_IDLE_MAX_KB = IDLE_MAX_KB - 4

Entry = dict[bytes, bytes]

# The namespace lives as long as the shell that waits for the end of its stdin.
NAMESPACE = """
set -e
mkdir -p /run/systemd /run/log
mount -t tmpfs tmpfs /run/systemd
mount -t tmpfs tmpfs /run/log
if [ -d /var/log/journal ]; then mount -t tmpfs tmpfs /var/log/journal; fi
mkdir -p /run/systemd/journal /run/log/journal/$(cat /etc/machine-id) /run/systemd/journald.conf.d
printf '[Journal]\\nRateLimitBurst=0\\nReadKMsg=no\\n' >/run/systemd/journald.conf.d/test.conf
echo ready
read -r _
"""

START = 'echo "$1" >/proc/sys/net/unix/max_dgram_qlen && exec "$2"'


def parse(export: bytes) -> list[Entry]:
    """The journal export format (systemd.io/JOURNAL_EXPORT_FORMATS): entries of fields."""
    entries: list[Entry] = []
    entry: Entry = {}
    at = 0
    while at < len(export):
        end = export.index(b"\n", at)
        line, at = export[at:end], end + 1
        if not line:
            entries.append(entry)
            entry = {}
            continue
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(export[at : at + 8], "little")
            value, at = export[at + 8 : at + 8 + size], at + 8 + size + 1
        entry[name] = value
    return entries


class Journald:
    """A journal of the test's own; conmon reaches it when it is started with `wrapper`."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", NAMESPACE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._shell.stdout is not None
        assert self._shell.stdout.readline() == b"ready\n"
        self.wrapper = ("nsenter", f"--mount=/proc/{self._shell.pid}/ns/mnt", f"--wd={os.getcwd()}")
        self.socket = Path(f"/proc/{self._shell.pid}/root/run/systemd/journal/socket")
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self, queue: int = 10) -> None:
        """Start the daemon, whose queue holds so many datagrams (a network namespace's own)."""
        self.socket.unlink(missing_ok=True)
        words = ["unshare", "--net", "sh", "-c", START, "sh", str(queue), str(DAEMON)]
        self._daemon = subprocess.Popen([*self.wrapper, *words])
        deadline = Deadline()
        while not self.socket.exists():
            assert not deadline.passed()
            time.sleep(0.005)  # polled: inotify does not see into /proc/PID/root

    def signal(self, number: int) -> None:
        assert self._daemon is not None
        self._daemon.send_signal(number)

    def stop(self) -> None:
        """End the daemon; what it took until now is in the journal."""
        self.sync()
        self.signal(signal.SIGTERM)
        assert self._daemon is not None
        self._daemon.wait(TIMEOUT_S)

    def run(self, *words: str) -> bytes:
        done = subprocess.run([*self.wrapper, *words], capture_output=True, timeout=30, check=True)
        return done.stdout

    def sync(self) -> None:
        self.run("journalctl", "--sync")

    def entries(self, cid: str = CID) -> list[Entry]:
        """What the journal has of a container, oldest first."""
        self.sync()
        return parse(self.run("journalctl", "-q", "-o", "export", f"CONTAINER_ID_FULL={cid}"))

    def close(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait(TIMEOUT_S)
        self._shell.communicate()


@pytest.fixture
def namespace(container: Container) -> Iterator[Journald]:
    """A place for a journald, which does not run yet."""
    missing = [name for name in ("unshare", "nsenter", "journalctl") if not shutil.which(name)]
    if os.geteuid() != 0 or not DAEMON.exists() or missing:
        why = f"needs root and systemd-journald {missing}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    container.options["-l"] = "journald:"
    journald = Journald()
    yield journald
    journald.close()


@pytest.fixture
def journald(namespace: Journald) -> Journald:
    namespace.start()
    return namespace


def run(
    container: Container, journald: Journald, command: str, *extra: str, count: int = 1
) -> list[Entry]:
    """The entries, at least `count`, of a container that runs `command` to its end."""
    container.command(command)
    assert container.run(*extra, wrapper=journald.wrapper) == 0
    all_messages(journald, count)
    return journald.entries()


def messages(entries: list[Entry]) -> list[bytes]:
    return [entry[b"MESSAGE"] for entry in entries]


def all_messages(journald: Journald, count: int) -> list[bytes]:
    """So many messages: a slow journal gets the last of them after the container's end."""
    deadline = Deadline()
    while len(found := messages(journald.entries())) < count:
        assert not deadline.passed(), len(found)
    return found


def stepwise(container: Container, journald: Journald, *steps: str) -> None:
    """Start a container that does the steps; between two it waits for `next_step`."""
    container.fifo("go")
    script = [f"{step}\n: >at{number}" for number, step in enumerate(steps)]
    container.command("\nread -r _ <go\n".join(script))
    container.launch(wrapper=journald.wrapper)
    container.allow(*(f"bundle/at{number}" for number in range(len(steps))))
    container.started()


def wait_step(container: Container, number: int) -> None:
    """Wait until the container has done a step: its output is in conmon's pipe."""
    container.wait_name(container.bundle / f"at{number}")


def next_step(container: Container) -> None:
    container.open_fifo(container.bundle / "go")


def test_fields(container: Container, journald: Journald) -> None:
    """C18: all fields that conmon gives, byte for byte, in a real journal."""
    container.options["--log-tag"] = "a tag"
    if not container.peer:
        container.options["--log-label"] = ["LABEL=v w", "EMPTY="]
    # The journal looks at the sender when it takes an entry: that must live for so long.
    stepwise(container, journald, r"printf 'out \n'; echo err >&2", "")
    deadline = Deadline()
    while len(entries := journald.entries()) < 2:
        assert not deadline.passed(), entries
    next_step(container)
    assert container.end() == 0
    out, err = sorted(entries, key=lambda entry: -int(entry[b"PRIORITY"]))  # two streams: any order
    expected = {
        b"CONTAINER_ID_FULL": CID.encode(), b"CONTAINER_ID": CID[:12].encode(),
        b"CONTAINER_NAME": b"name", b"CONTAINER_TAG": b"a tag", b"SYSLOG_IDENTIFIER": b"a tag",
    }  # fmt: skip
    if not container.peer:
        expected |= {b"LABEL": b"v w", b"EMPTY": b""}
    for entry, message, priority in ((out, b"out \n", b"6"), (err, b"err\n", b"3")):
        given = {
            name: value
            for name, value in entry.items()
            # the journal's own begin with an underscore; CODE_ is C conmon's own source
            if not name.startswith((b"_", b"CODE_"))
        }
        assert given == {**expected, b"MESSAGE": message, b"PRIORITY": priority}
        assert entry[b"_COMM"] == b"conmon"
        assert entry[b"_TRANSPORT"] == b"journal"
        assert entry[b"_UID"] == b"0"


def test_any_byte(container: Container, journald: Journald) -> None:
    """C18: all 256 values in lines of their own and in one; no byte is changed or lost."""
    data = b"".join(b"x%c\n" % value for value in range(256) if value != 10)
    data += bytes(value for value in range(256) if value != 10) * 20 + b"\n\n"
    container.put("data", data)
    assert b"".join(messages(run(container, journald, "cat data", count=257))) == data


def test_line_of_a_megabyte(container: Container, journald: Journald) -> None:
    """C18: it comes in partial entries that add up to it; the last is not partial."""
    line = b"0123456789" * 100_000 + b"\n"
    container.put("data", line + b"next\n")
    run(container, journald, "cat data")
    deadline = Deadline()
    while messages(entries := journald.entries())[-1] != b"next\n":
        assert not deadline.passed(), len(entries)
    *pieces, last, following = entries
    assert b"".join(messages([*pieces, last])) == line
    assert {entry.get(b"CONTAINER_PARTIAL_MESSAGE") for entry in pieces} == {b"true"}
    assert b"CONTAINER_PARTIAL_MESSAGE" not in last
    assert following[b"MESSAGE"] == b"next\n"


def test_unfinished_lines(container: Container, journald: Journald) -> None:
    """C18: pieces are joined; what has no newline at the end is sent as partial, stdout first."""
    whole, out, err = run(
        container,
        journald,
        r"printf e >&2; printf 'wh'; sleep 0.1; printf 'ole\no'; printf r >&2",
        count=3,
    )
    assert whole[b"MESSAGE"] == b"whole\n"
    assert b"CONTAINER_PARTIAL_MESSAGE" not in whole
    assert messages([out, err]) == [b"o", b"er"]
    assert out[b"CONTAINER_PARTIAL_MESSAGE"] == err[b"CONTAINER_PARTIAL_MESSAGE"] == b"true"


@pytest.mark.ours("2.1.6 knows no prefixes; 2.2.1 writes PRIORITY values that stop podman logs")
def test_priorities(container: Container, journald: Journald) -> None:
    """C20.14: PRIORITY is 3 or 6, `journalctl -p err` is right, and the exact value is there."""
    command = 'for n in 0 1 2 3 4 5 6 7; do echo "<$n>p$n"; done; echo no'
    entries = run(container, journald, command, count=9)
    assert messages(entries) == [b"p%d\n" % n for n in range(8)] + [b"no\n"]
    assert [entry[b"PRIORITY"] for entry in entries] == [b"3"] * 4 + [b"6"] * 5
    exact = [entry.get(b"CONTAINER_PRIORITY") for entry in entries]
    assert exact == [b"%d" % n for n in range(8)] + [None]
    found = journald.run("journalctl", "-q", "-o", "cat", "-p", "err", f"CONTAINER_ID_FULL={CID}")
    assert found.split() == [b"p0", b"p1", b"p2", b"p3"]


@pytest.mark.ours("2.1.6 has no labels; 2.2.1 loses the line above some 120 of them")
def test_many_labels(container: Container, journald: Journald) -> None:
    """C20.14: 500 labels are all in the journal."""
    labels = {b"LABEL_%d" % i: b"value %d" % i for i in range(500)}
    container.options["--log-label"] = [b"=".join(label) for label in labels.items()]
    [entry] = run(container, journald, "echo x")
    assert labels.items() <= entry.items()


@pytest.mark.ours("2.1.6 has no labels; 2.2.1 loses the line")
def test_more_labels_than_the_journal_takes(container: Container, journald: Journald) -> None:
    """C20.14: the line is logged with those that fit, and the caller is told."""
    container.options["--log-label"] = [f"LABEL_{i}=v" for i in range(1500)]
    [entry] = run(container, journald, "printf '<1>x'")
    assert sum(name.startswith(b"LABEL_") for name in entry) == 1000
    assert b"The journal takes at most 1000 labels" in container.stderr


@pytest.mark.ours("2.1.6 has no labels; 2.2.1 says nothing")
def test_labels_that_the_journal_does_not_take(container: Container, journald: Journald) -> None:
    """C18: journald leaves out fields with such names; the caller is told."""
    longest = "L" * 64
    refused = ["_OWN", "9TH", longest + "L"]
    container.options["--log-label"] = [f"{name}=v" for name in [*refused, longest]]
    [entry] = run(container, journald, "echo x")
    assert entry[longest.encode()] == b"v"
    for name in refused:
        assert name.encode() not in entry
        assert f"The journal does not accept the label name '{name}'".encode() in container.stderr
    assert container.stderr.count(b"does not accept") == len(refused)


@pytest.mark.ours("2.1.6 has no labels")
def test_entry_too_large_for_a_datagram(container: Container, journald: Journald) -> None:
    """C18: such an entry reaches the journal all the same, as a sealed file."""
    labels = [b"LABEL_%d=" % i + b"v" * 100_000 for i in range(8)]
    container.options["--log-label"] = labels
    first, second = run(container, journald, "echo one; echo two", count=2)
    assert messages([first, second]) == [b"one\n", b"two\n"]
    assert second[b"LABEL_7"] == b"v" * 100_000


@pytest.mark.real_processor("journald takes longer than the test waits")
@pytest.mark.parametrize("queue", [10, 512])
def test_much_output(container: Container, namespace: Journald, queue: int) -> None:
    """C18: 20,000 lines get there, in their order.

    systemd sets a queue of 512; where it does not start the machine, the kernel's default is 10.
    """
    namespace.start(queue)
    expected = [b"%d\n" % number for number in range(20_000)]
    container.put("data", b"".join(expected))
    run(container, namespace, "exec cat data")
    assert all_messages(namespace, len(expected)) == expected


def test_newer_journald(container: Container, namespace: Journald) -> None:
    """C21.5: systemd 257 keeps the first entry of a datagram, and that is enough.

    Its stand-in is a socket whose datagrams are looked at: an empty line would end an entry.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(namespace.socket))
        container.command(r"printf 'test1\ntest2\ntest3\n'")
        assert container.run(wrapper=namespace.wrapper) == 0
        journal.settimeout(TIMEOUT_S)
        found = [journal.recv(1 << 17) for _ in range(3)]
    values = [f"\nMESSAGE\n\6\0\0\0\0\0\0\0test{n}\n\n".encode() for n in (1, 2, 3)]
    for datagram, value in zip(found, values, strict=True):
        if not container.peer:  # which sends it in another form
            assert value in b"\n" + datagram
        assert datagram.count(b"test") == 1, datagram


@pytest.mark.ours("2.1.6 knows no prefixes")
def test_lines_of_one_read(container: Container, journald: Journald) -> None:
    """C18: what comes in one read are entries of their own, whatever is in them."""
    lines = [b"plain", b"", b"<3>bad", b"\0\xff", b"MESSAGE=no", b"", b"=", b"<7>\r", b"x" * 5000]
    container.put("data", b"".join(line + b"\n" for line in lines) * 9)
    entries = run(container, journald, "exec dd if=data bs=1M status=none", count=81)
    assert messages(entries) == [re.sub(rb"^<.>", b"", line) + b"\n" for line in lines] * 9
    priorities = [b"3" if line == b"<3>bad" else b"6" for line in lines]
    assert [entry[b"PRIORITY"] for entry in entries] == priorities * 9
    assert {entry[b"CONTAINER_NAME"] for entry in entries} == {b"name"}


def test_beside_a_file_and_a_client(container: Container, journald: Journald) -> None:
    """C9, C12.3: journal, k8s-file and an attach client get the same output."""
    container.options["-l"] = ["journald:", f"k8s-file:{container.log}"]
    stepwise(container, journald, "", "echo one; echo two")
    client = container.attach()
    next_step(container)
    assert client.read_all() == b"one\ntwo\n"
    assert container.end() == 0
    assert container.log.read_bytes().count(b" stdout F ") == 2
    assert all_messages(journald, 2) == [b"one\n", b"two\n"]


@pytest.mark.ours("C conmon is blocked in sendmsg for the time")
def test_journal_that_stands_still(container: Container, journald: Journald) -> None:
    """C18: the container is slowed down, conmon stays live, and nothing is lost."""
    expected = [b"%d " % n + b"x" * 100 + b"\n" for n in range(10_000)]
    container.put("data", b"".join(expected))
    stepwise(container, journald, "", "cat data")
    journald.signal(signal.SIGSTOP)
    next_step(container)
    settled(container.monitor.pid)
    client = container.attach()  # returns when the monitor has accepted it
    assert not (container.bundle / "at1").exists()
    journald.signal(signal.SIGCONT)
    assert b"".join(expected).endswith(client.read_all())
    assert container.end() == 0
    assert all_messages(journald, len(expected)) == expected


@pytest.mark.ours("C conmon is blocked in sendmsg and does not see the container's end")
def test_end_while_the_journal_stands_still(container: Container, journald: Journald) -> None:
    """C18, C17: the exit code does not wait for ever for a journal that takes nothing."""
    container.put("data", b"line\n" * 100_000)
    container.command("exec cat data")
    journald.signal(signal.SIGSTOP)
    container.launch(wrapper=journald.wrapper)
    pid = container.started()
    settled(container.monitor.pid)
    container.kill(pid)
    journald.signal(signal.SIGCONT)
    deadline = Deadline(4 * TIMEOUT_S)  # a busy systemd 257 needs half a minute for them
    while any(row.state != "Z" and "conmon" in row.command for row in descendants()):
        assert not deadline.passed()  # the child ends when the journal has the rest
        time.sleep(0.01)


@pytest.mark.ours("C conmon is blocked in sendmsg and does not see the container's end")
def test_rest_after_the_end(container: Container, journald: Journald) -> None:
    """C18, C20.1: what a journal that stands still has not taken at the end comes after it.

    The exit files are there before, the rest is lost no more for that.
    """
    expected = [b"%d\n" % number for number in range(5000)]
    container.put("data", b"".join(expected))
    container.command("cat data; exit 3")
    journald.signal(signal.SIGSTOP)
    container.launch(wrapper=journald.wrapper)
    container.started()
    assert container.end() == 3
    journald.signal(signal.SIGCONT)
    assert all_messages(journald, len(expected)) == expected


@pytest.mark.ours("C conmon loses what is written while nobody is at the socket")
def test_journald_restarts(container: Container, journald: Journald) -> None:
    """C18: what is written while journald is away is there when it is back."""
    stepwise(container, journald, "echo before", "echo while", "echo after")
    deadline = Deadline()
    while not journald.entries():
        assert not deadline.passed()
    journald.stop()
    next_step(container)
    wait_step(container, 1)
    journald.start()
    next_step(container)
    assert container.end() == 0
    assert all_messages(journald, 3) == [b"before\n", b"while\n", b"after\n"]


@pytest.mark.ours("C conmon loses what it cannot send at once")
def test_no_fd_left(container: Container, journald: Journald) -> None:
    """C18: what no socket could be had for is sent when there is one, without more output."""
    stepwise(container, journald, "", "echo one", "")
    wait_step(container, 0)
    with no_fd_left(container.monitor.pid):
        next_step(container)
        wait_step(container, 1)
        settled(container.monitor.pid)
        assert not journald.entries()
    deadline = Deadline()
    while not journald.entries():
        assert not deadline.passed()
    next_step(container)
    assert container.end() == 0
    assert messages(journald.entries()) == [b"one\n"]


def test_host_without_a_journal(container: Container, namespace: Journald) -> None:
    """C18: without a journal the container runs as it should, and ends at once."""
    container.command("echo nobody hears; exit 3")
    assert container.run(wrapper=namespace.wrapper) == 3


@pytest.mark.ours("the C conmon has 320 kB and more")
def test_memory_and_wake_ups(container: Container, journald: Journald) -> None:
    """C18, E1, E2: idle with a journal, before and after much output."""
    much = f"yes {'x' * 99} | head -c 1000000; echo done"
    stepwise(container, journald, "", "echo one; printf part", much, "")
    for step, last in enumerate((b"", b"one\n", b"done\n")):
        wait_step(container, step)
        deadline = Deadline()
        while last and messages(journald.entries())[-1:] != [last]:
            assert not deadline.passed()
        settled(container.monitor.pid)
        assert private_dirty_kb(container.monitor.pid) <= JOURNAL_IDLE_MAX_KB
        before = context_switches(container.monitor.pid)
        time.sleep(0.5)  # the measurement: nothing may happen in it
        assert context_switches(container.monitor.pid) == before
        next_step(container)
    assert container.end() == 0


@pytest.mark.skipif(not PEER.exists(), reason="no C conmon is installed")
def test_same_fields_as_the_peer(
    conmon_path: Path, container: Container, journald: Journald
) -> None:
    """C18: beside Debian's conmon: the same fields and values for the same output.

    Differences, each wanted: C conmon adds CODE_FILE, CODE_LINE and CODE_FUNC, which tell of its
    own source; and a long line is cut where its reads end, not where a piece is full.
    """
    script = r"echo out; echo err >&2; printf 'a\000\377b\n'; printf left"
    found = {}
    container.options.pop("--sandbox", None)  # the peer knows none
    for name, binary in (("peer", PEER), ("ours", conmon_path)):
        container.conmon = binary
        for path in (container.exit_file, container.persist_exit, container.conmon_pidfile):
            path.unlink(missing_ok=True)
        container._monitor = None
        cid = f"{name}-{CID}"
        container.options["-c"] = cid
        container.exit_file = container.exit_file.with_name(cid)
        container.allow(f"exits/{cid}", "bundle/attach")
        container.command(script)
        assert container.run(wrapper=journald.wrapper) == 0
        found[name] = [
            {
                field: value.replace(cid.encode(), b"CID").replace(cid[:12].encode(), b"SHORT")
                for field, value in entry.items()
                if field[:1] != b"_" and not field.startswith(b"CODE_")
            }
            # two streams: any order between them
            for entry in sorted(journald.entries(cid), key=lambda entry: entry[b"PRIORITY"])
        ]
    assert len(found["ours"]) == 4
    assert found["ours"] == found["peer"]
