"""Audit records: reading them, putting events together in any order, counting what is missing."""

from __future__ import annotations

import itertools
from typing import Any

from harness_audit import X86, Stream, clone, clone3, execve, exit_group, vfork
from hypothesis import given, settings
from hypothesis import strategies as st

from conmon.watch.sources.audit_records import (
    EOE,
    EXECVE,
    MAX_AGE,
    SYSCALL,
    AuditEvent,
    Head,
    Reassembler,
    Serials,
    split_head,
)
from conmon.watch.sources.audit_translate import AuditTranslator


def event_of(*records: tuple[int, bytes]) -> AuditEvent:
    return AuditEvent(Head(0, 1), 0, list(records))


class Recorder:
    """A sink that remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def fork(self, ts: int, ppid: int, pid: int) -> None:
        self.told.append(("fork", ts, ppid, pid))

    def exec(self, ts: int, pid: int, ppid: int, argv: tuple[str, ...] | None) -> None:
        self.told.append(("exec", ts, pid, ppid, argv))

    def exit(self, ts: int, pid: int, status: int, ppid: int, whole: bool) -> None:
        self.told.append(("exit", ts, pid, status, ppid, whole))


def translated(
    records: list[tuple[int, bytes]], *, ours: bool = True, process: bool = True
) -> tuple[list[tuple[Any, ...]], AuditTranslator]:
    recorder = Recorder()
    translator = AuditTranslator(X86, lambda _: ours, lambda _: process)
    for kind, text in records:
        translator.take(kind, text, 0, 0, recorder)
    return recorder.told, translator


def test_head_of_a_record() -> None:
    """Milliseconds of the wall clock, and the serial; anything else is no record."""
    split = split_head(b"audit(1795331507.021:2299): arch=c000003e syscall=58")
    assert split == (Head(1795331507021, 2299), b"arch=c000003e syscall=58")
    assert split_head(b"audit(1.2): x") is None
    assert split_head(b"hello") is None


def test_arguments_quoted_coded_and_split() -> None:
    """execve's arguments: quoted, hexadecimal, in pieces, over several records; others' fields
    that look alike are none."""
    event = event_of(
        (EXECVE, b'argc=4 a0="/bin/echo" a1=74776F20776F726473 a2_len=6 a2[0]="abc"'),
        (EXECVE, b"a2[1]=C3A462 a3=22"),
    )
    assert event.argv() == ("/bin/echo", "two words", "abcäb", '"')
    assert event_of((EXECVE, b'argc=1 a0=""')).argv() == ("",)
    assert event_of((SYSCALL, b"a0=1 a1=2")).argv() is None


def test_arguments_are_bounded() -> None:
    """Of a huge command line the beginning is kept."""
    records = [(EXECVE, b'a%d="%s"' % (n, b"x" * 1000)) for n in range(60)]
    argv = event_of(*records).argv()
    assert argv is not None and 3 <= len(argv) <= 4


def test_calls_become_events() -> None:
    """fork, vfork, clone and clone3, execve, exit_group; failed calls and threads do not."""
    stream = Stream()
    records = [
        *stream.event(clone(10, 1, 20)),
        *stream.event(execve(20, 10), ["sh", "-c"]),
        *stream.event(vfork(20, 10, 21)),
        *stream.event(clone3(20, 10, 22)),
        *stream.event(clone(20, 10, 23, flags=0x3D0F00)),
        *stream.event(execve(21, 20, success=False)),
        *stream.event(exit_group(21, 20, 3)),
    ]
    told, _ = translated(records)
    ms = 1_000_000
    first = stream.first * ms
    assert told == [
        ("fork", first, 10, 20),
        ("exec", first + ms, 20, 10, ("sh", "-c")),
        ("fork", first + 2 * ms, 20, 21),
        ("fork", first + 3 * ms, 20, 22),
        ("exit", first + 6 * ms, 21, 3 << 8, 20, True),
    ]


def test_another_architecture_is_left_alone() -> None:
    """Call numbers of 32-bit programs mean something else."""
    stream = Stream()
    told, _ = translated(stream.event(clone(10, 1, 20).replace(b"c000003e", b"40000003")))
    assert told == []


def test_pids_of_other_namespaces_are_not_believed() -> None:
    """The result of fork is in the caller's terms; clone3's may be a thread. Both are counted."""
    stream = Stream()
    told, translator = translated(stream.event(clone(10, 1, 2)), ours=False)
    assert (told, translator.unresolved) == ([], 1)
    told, translator = translated(stream.event(clone3(10, 1, 2)), process=False)
    assert (told, translator.unresolved) == ([], 1)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_records_interleaved(data: st.DataObject) -> None:
    """However the records of concurrent events are mixed, each event is told once, at its end."""
    stream = Stream()
    events = [stream.event(execve(n, 1), [f"program{n}"]) for n in range(2, 6)]
    mixed = []
    left = [list(records) for records in events]
    while any(left):
        records = data.draw(st.sampled_from([records for records in left if records]))
        mixed.append(records.pop(0))
    told, translator = translated(mixed)
    assert sorted(entry[2] for entry in told) == [2, 3, 4, 5]
    assert all(entry[4] == (f"program{entry[2]}",) for entry in told)
    ends = [text for kind, text in mixed if kind == EOE]
    assert [stream.first + split.serial - stream.serial0
            for text in ends if (split := head(text))] == [
        entry[1] // 1_000_000 for entry in told
    ]  # fmt: skip
    assert translator.lost == translator.incomplete == 0


def head(text: bytes) -> Head | None:
    split = split_head(text)
    return split[0] if split else None


def test_event_without_its_end() -> None:
    """When the last record got lost, the event is told after a while, and counted."""
    stream = Stream()
    records = [r for r in stream.event(execve(2, 1), ["x"]) if r[0] != EOE]
    told, translator = translated(records)
    assert told == []
    recorder = Recorder()
    translator.expire(MAX_AGE - 1, 0, recorder)
    assert recorder.told == []
    translator.expire(MAX_AGE, 0, recorder)
    assert [entry[:1] for entry in recorder.told] == [("exec",)]
    assert translator.incomplete == 1


def test_events_in_flight_are_bounded() -> None:
    """Beyond the limit the oldest goes as it is, and is counted."""
    reassembler = Reassembler(limit=3)
    gone = [reassembler.feed(SYSCALL, Head(0, n), b"", 0) for n in range(5)]
    assert [event.head.serial if event else None for event in gone] == [None, None, None, 0, 1]
    assert (len(reassembler), reassembler.incomplete) == (3, 2)


@settings(max_examples=300, deadline=None)
@given(st.permutations(range(100, 130)), st.sets(st.integers(101, 128)))
def test_missing_serials_are_counted(order: list[int], missing: set[int]) -> None:
    """Serials in any order: what never came is counted, exactly, when it is too late."""
    serials = Serials()
    serials.take(100, 0)
    for serial in itertools.chain(order, [129]):
        if serial not in missing:
            serials.take(serial, 1)
            serials.take(serial, 1)  # each record of an event has it
    serials.expire(MAX_AGE)
    assert serials.lost == 0
    serials.expire(MAX_AGE + 1)
    assert serials.lost == len(missing)


def test_holes_are_bounded() -> None:
    """More holes than are kept: the oldest is given up early."""
    serials = Serials(limit=4)
    for serial in range(0, 20, 2):
        serials.take(serial, 0)
    assert serials.lost == 5
