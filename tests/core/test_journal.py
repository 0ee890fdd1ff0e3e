"""The journald log of the core: entries beside a plain model, and a journal that is not there.

The journal here is a socket of the test's own; the format of what arrives on it is that of
systemd.io/JOURNAL_NATIVE_PROTOCOL.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import itertools
import mmap
import os
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conmon import _fastio, cli, logdrivers

CID = b"0123456789abcdef"
KEPT = 8191
PIECE = 8192
ALL_SEALS = 0xF

Chunk = tuple[int, bytes]
Field = tuple[bytes, bytes]
Texts = dict[str, bytes | list[bytes] | None]
# message, PRIORITY, CONTAINER_PRIORITY, whether it is partial
Entry = tuple[bytes, bytes, bytes | None, bool]


def parse(datagram: bytes) -> list[Field]:
    """The fields of the one entry in a datagram, in their order, by the protocol's own words.

    An empty line would begin another entry: journald from 257 on drops that in silence.
    """
    fields: list[Field] = []
    while datagram:
        line, newline, rest = datagram.partition(b"\n")
        assert newline
        assert line, "a datagram with more than one entry"
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        fields.append((name, value))
        datagram = rest
    assert fields
    return fields


def entry(fields: list[Field]) -> Entry:
    """What varies in an entry; each of its fields is there once."""
    found = dict(fields)
    assert len(found) == len(fields)
    partial = found.get(b"CONTAINER_PARTIAL_MESSAGE")
    assert partial in (None, b"true")
    priority = found.get(b"CONTAINER_PRIORITY")
    return found[b"MESSAGE"], found[b"PRIORITY"], priority, partial is not None


class Journal:
    """A datagram socket that is read by a thread, from `start` on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.datagrams: list[bytes] = []
        self.files = 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self._stop_r, self._stop_w = os.pipe()
        self._thread = threading.Thread(target=self._read)

    def start(self) -> Journal:
        self._thread.start()
        return self

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self.socket.fileno(), self._stop_r], [], [])
            if self.socket.fileno() in ready:
                self.take()
            else:
                return

    def take(self) -> None:
        """Receive some entries, from the datagram or from the sealed file that it carries."""
        data, fds, _, _ = socket.recv_fds(self.socket, 1 << 20, 4)
        if fds:
            assert not data
            [fd] = fds
            assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == ALL_SEALS
            data = mmap.mmap(fd, 0, prot=mmap.PROT_READ)[:]
            os.close(fd)
            self.files += 1
        self.datagrams.append(data)

    def stop(self) -> list[list[Field]]:
        """Take what is there still; the fields of all entries."""
        if self._thread.is_alive():
            os.write(self._stop_w, b"x")
            self._thread.join()
        for fd in (self._stop_r, self._stop_w):
            os.close(fd)
        self.socket.setblocking(False)
        while select.select([self.socket], [], [], 0)[0]:
            self.take()
        self.socket.close()
        self.path.unlink()
        return [parse(datagram) for datagram in self.datagrams]


def forward(path: Path, chunks: Iterator[Chunk] | list[Chunk], *args: bytes) -> dict[str, int]:
    """Log the chunks to the journal at `path` with the fields that `args` ask for; the counters."""
    options = cli.parse([b"-c", CID, *args])
    fields = _fastio.new_record()
    entry_fields = logdrivers.journal_fields(options)
    fields["journal_fields_size"] = len(entry_fields)
    fields["journal_no_partial"] = int(options.no_container_partial_message)
    texts: Texts = {"journal_socket": os.fsencode(path), "journal_fields": entry_fields}
    counters = _fastio.forward(fields, texts, chunks)["counters"]
    assert isinstance(counters, dict)
    return counters


def logged(path: Path, chunks: Iterator[Chunk] | list[Chunk], *args: bytes) -> list[list[Field]]:
    """The fields of all entries that the chunks give with a journal that is there."""
    journal = Journal(path).start()
    try:
        forward(path, chunks, *args)
    finally:
        entries = journal.stop()
    return entries


def model(chunks: list[Chunk]) -> list[Entry]:
    """The entries that C18 asks for."""
    entries: list[Entry] = []
    kept = {2: b"", 3: b""}
    prefix: dict[int, bytes | None] = {2: None, 3: None}
    inside = {2: False, 3: False}

    def put(stream: int, message: bytes, partial: bool) -> None:
        if not inside[stream]:
            match = re.match(rb"<([0-7])>", message)
            prefix[stream] = match[1] if match else None
            message = message[3:] if match else message
        inside[stream] = partial
        own = prefix[stream]
        priority = b"6" if stream == 2 else b"3"
        if own is not None:
            priority = b"3" if own <= b"3" else b"6"
        entries.append((message, priority, own, partial))

    for stream, data in chunks:
        for line in re.findall(rb"[^\n]*\n|[^\n]+", data):
            for start in range(0, len(line), PIECE):
                piece = kept[stream] + line[start : start + PIECE]
                if not piece.endswith(b"\n") and len(piece) <= KEPT:
                    kept[stream] = piece
                else:
                    put(stream, piece, not piece.endswith(b"\n"))
                    kept[stream] = b""
    for stream in (2, 3):
        if kept[stream]:
            put(stream, kept[stream], True)
    return entries


lines = st.lists(
    st.one_of(st.binary(max_size=300), st.sampled_from([b"<3>x", b"<", b"<6", b"<7>", b"<8>x"])),
    max_size=40,
).map(b"\n".join)
long_lines = st.tuples(st.sampled_from([b"", b"<1>", b"\n"]), st.integers(0, 65000)).map(
    lambda found: found[0] + b"x" * found[1]
)
newlines = st.integers(0, 2000).map(lambda size: b"\n" * size)
data = st.one_of(lines, long_lines, newlines, st.binary(max_size=2000))
chunks_of_data = st.lists(st.tuples(st.sampled_from([2, 3]), data), max_size=10)


@given(chunks=chunks_of_data)
@settings(deadline=None)
def test_entries_equal_the_model(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[Chunk]
) -> None:
    """C18: message, priority and partial mark of every entry, for any bytes and any cuts."""
    found = logged(tmp_path_factory.getbasetemp() / "journal", chunks)
    assert [entry(fields) for fields in found] == model(chunks)


@given(text=lines, cuts=st.lists(st.integers(0, 2000), max_size=30))
@settings(deadline=None, max_examples=50)
def test_how_lines_arrive_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, cuts: list[int]
) -> None:
    """C18: lines that are short enough to be kept are the same entries however they are cut."""
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [(2, text[a:b]) for a, b in itertools.pairwise(edges)]
    found = logged(tmp_path_factory.getbasetemp() / "cuts", pieces)
    if all(len(line) < KEPT for line in text.split(b"\n")):
        assert [entry(fields) for fields in found] == model([(2, text)])


@pytest.mark.parametrize("middle", [8191, 16382, 65536])
def test_every_length_around_an_edge(tmp_path: Path, middle: int) -> None:
    """C18: no byte is lost or doubled where pieces are cut."""
    for size in range(middle - 6, middle + 6):
        stream = b"<2>" + b"y" * (size - 3) + b"\nnext\n"
        for step in (65536, 8192, 8191, 1000):
            chunks = [(3, stream[i : i + step]) for i in range(0, len(stream), step)]
            found = [entry(fields) for fields in logged(tmp_path / "j", chunks)]
            assert found == model(chunks)
            assert b"".join(message for message, *_ in found) == stream[3:]


def test_constant_fields(tmp_path: Path) -> None:
    """C18: ids from the container id, tag, name, source and labels are in every entry."""
    chunks = [(2, b"out\n"), (3, b"err\n")]
    args = [b"-n", b"a name", b"--log-tag", b"a tag", b"--log-label", b"B=1", b"--log-label", b"A="]
    both = logged(tmp_path / "j", chunks, *args)
    expected = {
        b"CONTAINER_ID_FULL": CID, b"CONTAINER_ID": CID[:12], b"CONTAINER_NAME": b"a name",
        b"CONTAINER_TAG": b"a tag", b"SYSLOG_IDENTIFIER": b"a tag", b"B": b"1", b"A": b"",
    }  # fmt: skip
    assert [dict(fields) for fields in both] == [
        {**expected, b"MESSAGE": b"out\n", b"PRIORITY": b"6"},
        {**expected, b"MESSAGE": b"err\n", b"PRIORITY": b"3"},
    ]


@pytest.mark.parametrize(
    ("args", "source"), [([b"-n", b"name"], b"name"), ([], CID[:12]), ([b"--log-tag", b"t"], b"t")]
)
def test_source(tmp_path: Path, args: list[bytes], source: bytes) -> None:
    """C18: SYSLOG_IDENTIFIER is the tag, else the name, else the short id."""
    [fields] = logged(tmp_path / "j", [(2, b"x\n")], *args)
    assert dict(fields)[b"SYSLOG_IDENTIFIER"] == source


def test_newline_in_a_field(tmp_path: Path) -> None:
    """C18: a tag, name or label cannot forge fields by a newline, and arrives as it is."""
    args = [b"--log-tag", b"a\nPRIORITY=0", b"-n", b"\n", b"--log-label", b"L=1\n2"]
    [fields] = logged(tmp_path / "j", [(2, b"x\n")], *args)
    found = dict(fields)
    assert (found[b"CONTAINER_TAG"], found[b"L"]) == (b"a\nPRIORITY=0", b"1\n2")
    assert (found[b"CONTAINER_NAME"], found[b"PRIORITY"]) == (b"\n", b"6")


def test_no_partial_message(tmp_path: Path) -> None:
    """C18: with --no-container-partial-message the mark is left out, the pieces are the same."""
    chunks = [(2, b"x" * 30000), (2, b"\nrest")]
    found = logged(tmp_path / "j", chunks, b"--no-container-partial-message")
    assert [entry(fields) for fields in found] == [
        (message, priority, own, False) for message, priority, own, _ in model(chunks)
    ]


def test_many_labels(tmp_path: Path) -> None:
    """C20.14: 250 labels are all there, where C conmon loses the line above some 120."""
    labels = {b"LABEL_%d" % i: b"value %d" % i for i in range(250)}
    args = [word for label in labels.items() for word in (b"--log-label", b"=".join(label))]
    [fields] = logged(tmp_path / "j", [(2, b"x\n")], *args)
    assert labels.items() <= dict(fields).items()


def test_large_entry(tmp_path: Path) -> None:
    """C18: an entry that is too large for a datagram goes as a sealed file, between the others."""
    journal = Journal(tmp_path / "j").start()
    label = b"BIG=" + bytes(range(1, 128)) * 4096
    chunks = [(2, b"one\ntwo\n"), (3, b"three\n")]
    counters = forward(journal.path, chunks, b"--log-label", label)
    found = [dict(fields) for fields in journal.stop()]
    assert [fields[b"MESSAGE"] for fields in found] == [b"one\n", b"two\n", b"three\n"]
    assert {fields[b"BIG"] for fields in found} == {label[4:]}
    assert journal.files == 3
    assert counters["entries"] == 3


def test_each_entry_is_a_datagram(tmp_path: Path) -> None:
    """C21.5: also those of one read, however short; the lines of a burst keep their order."""
    journal = Journal(tmp_path / "j").start()
    expected = [b"%d" % i + b"x" * 300 * (i % 5) + b"\n" for i in range(1000)] + [b"\n"] * 1000
    text = b"".join(expected)
    chunks = [(2, text[i : i + 65536]) for i in range(0, len(text), 65536)]
    counters = forward(journal.path, chunks)
    found = journal.stop()  # which fails for a datagram that holds more
    assert [entry(fields)[0] for fields in found] == expected
    assert counters["entries"] == len(journal.datagrams) == 2000


def test_slow_journal(tmp_path: Path) -> None:
    """C18: while the journal takes nothing entries wait; later all of them come in order."""
    journal = Journal(tmp_path / "j")
    expected = [b"%d\n" % i for i in range(3000)]

    def chunks() -> Iterator[Chunk]:
        for i in range(0, 3000, 100):
            yield 2, b"".join(expected[i : i + 100])
        journal.start()

    counters = forward(journal.path, chunks())
    found = [entry(fields)[0] for fields in journal.stop()]
    assert found == expected
    assert counters["entries"] == 3000
    assert counters["entries_dropped"] == 0
    assert counters["journal_stalls"] >= 1


def test_queue_at_the_end(tmp_path: Path) -> None:
    """C18: what a container leaves in its pipes waits, also where it comes to more than 4 MiB."""
    journal = Journal(tmp_path / "j")

    def chunks() -> Iterator[Chunk]:
        for _ in range(100):
            yield 2, (b"x" * 99 + b"\n") * 600
        journal.start()

    counters = forward(journal.path, chunks())
    journal.stop()
    assert counters["entries"] == len(journal.datagrams) == 60000
    assert counters["entries_dropped"] == 0


def test_journal_that_never_takes_anything(tmp_path: Path) -> None:
    """C18: the end does not wait for it for ever; what is lost is counted to the byte."""
    journal = Journal(tmp_path / "j")
    counters = forward(journal.path, [(2, b"a line\n" * 5000)])
    taken = len(journal.stop())
    assert counters["entries"] == taken > 0
    assert counters["entries_dropped"] == 5000 - taken
    assert counters["entry_bytes_dropped"] == 7 * (5000 - taken)


def test_restarted_journal(tmp_path: Path) -> None:
    """C18: a journal that went away and came back under the same name gets all later entries."""
    first = Journal(tmp_path / "j")
    found: list[list[Field]] = []
    second: list[Journal] = []

    def chunks() -> Iterator[Chunk]:
        yield 2, b"one\n"
        found.extend(first.stop())
        yield 2, b"two\nthree"  # nobody is there: two waits
        second.append(Journal(tmp_path / "j").start())
        yield 2, b"\nfour\n"

    counters = forward(first.path, chunks())
    found += second[0].stop()
    expected = [b"one\n", b"two\n", b"three\n", b"four\n"]
    assert [entry(fields)[0] for fields in found] == expected
    assert counters["entries"] == 4
    assert counters["entries_dropped"] == 0


def test_host_without_a_journal(tmp_path: Path) -> None:
    """C18: nothing waits for a journal that was never there; what is lost is counted."""
    counters = forward(tmp_path / "none", [(2, b"x\n" * 10), (3, b"rest")])
    assert counters["entries"] == counters["journal_stalls"] == 0
    assert counters["entries_dropped"] == 11
    assert counters["entry_bytes_dropped"] == 24


def test_marker(tmp_path: Path) -> None:
    """C18: the first entry after a loss says how much is missing."""
    journal: list[Journal] = []

    def chunks() -> Iterator[Chunk]:
        yield 2, b"lost\nlost too\n"
        journal.append(Journal(tmp_path / "j").start())
        yield 2, b"unfinished"

    counters = forward(tmp_path / "j", chunks())
    marker, last = (entry(fields) for fields in journal[0].stop())
    text = b"conmon: 14 bytes of output (2 entries) were not logged: No such file or directory\n"
    assert marker == (text, b"3", None, False)
    assert last == (b"unfinished", b"6", None, True)
    assert counters["entries"] == 2


@pytest.mark.real_processor("the journal is looked for once in a second of its time")
def test_marker_that_waits_is_counted(tmp_path: Path) -> None:
    """C18: a marker that does not get there either is no output, and what it tells of is not lost.

    The count of the lost is exact, and so is the next marker.
    """
    socks: list[socket.socket] = []
    last: list[Journal] = []

    def full() -> socket.socket:
        """A socket whose queue is full already."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(str(tmp_path / "j"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    filler.sendto(b"A=1\n", str(tmp_path / "j"))
        return sock

    def chunks() -> Iterator[Chunk]:
        yield 2, b"lost\nlost too\n"  # nobody is there
        socks.append(full())
        time.sleep(1.1)  # the journal is looked for once in a second
        yield 2, b"waits\n"  # behind its marker
        socks.pop().close()
        (tmp_path / "j").unlink()
        last.append(Journal(tmp_path / "j").start())
        yield 2, b"there\n"

    counters = forward(tmp_path / "j", chunks())
    found = [entry(fields)[0] for fields in last[0].stop()]
    text = b"conmon: 14 bytes of output (2 entries) were not logged: No such file or directory\n"
    assert found == [text, b"waits\n", b"there\n"]
    assert counters["entries_dropped"] == 2


def test_beside_a_file(tmp_path: Path) -> None:
    """C9: the k8s-file gets the same bytes at the same time."""
    journal = Journal(tmp_path / "j").start()
    fields = _fastio.new_record()
    fields["log_fd"] = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT, 0o640)
    fields["journal_fields_size"] = 1
    texts: Texts = {"journal_socket": os.fsencode(journal.path), "journal_fields": b"\n"}
    texts["log_path"] = os.fsencode(tmp_path / "log")
    _fastio.forward(fields, texts, [(2, b"one\nt"), (3, b"err\n"), (2, b"wo\n")])
    found = [(e[0], e[1]) for e in map(entry, journal.stop())]
    assert found == [(b"one\n", b"6"), (b"err\n", b"3"), (b"two\n", b"6")]
    records = [line.split(b" ", 1)[1] for line in (tmp_path / "log").read_bytes().splitlines()]
    assert records == [b"stdout F one", b"stdout P t", b"stderr F err", b"stdout F wo"]


def test_no_fd_is_left(tmp_path: Path) -> None:
    """C18: nothing stays open, also not after large entries and without a journal."""
    before = array.array("i", sorted(map(int, os.listdir("/proc/self/fd"))))
    logged(tmp_path / "j", [(2, b"x\n")], b"--log-label", b"A=" + b"x" * 500_000)
    forward(tmp_path / "none", [(2, b"x\n")])
    assert array.array("i", sorted(map(int, os.listdir("/proc/self/fd")))) == before
