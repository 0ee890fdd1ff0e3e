"""The journald log driver, with a real journald."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .bed import IMAGE, Bed
from .client import Podman
from .combinations import cannot
from .journal import DAEMON, Journal, message
from .wait import until

DRIVER = ("--log-driver", "journald")


@pytest.fixture(scope="module")
def journal(bed: Bed) -> Iterator[Journal]:
    if not DAEMON.exists():
        cannot("systemd-journald is not installed")
    journal = Journal(bed)
    yield journal
    journal.close()


def run_logged(podman: Podman, script: str, *options: str) -> tuple[str, str]:
    """A container that has run ``script`` to its end: its name and its full id."""
    name = podman.sh(script, *DRIVER, *options)
    podman.wait(name)
    podman.wait_no_monitor()
    return name, podman.format(name, "{{.Id}}")


def test_fields(podman: Podman, journal: Journal) -> None:
    """C18: a line, with its newline, is an entry with ids, name and its stream's priority."""
    name, full_id = run_logged(podman, "echo out; echo err >&2")
    entries = {message(e): e for e in journal.entries(full_id)}
    assert sorted(entries) == [b"err\n", b"out\n"]
    for text, priority in ((b"out\n", "6"), (b"err\n", "3")):
        entry = entries[text]
        assert entry["PRIORITY"] == priority
        assert entry["CONTAINER_ID"] == full_id[:12]
        assert entry["CONTAINER_NAME"] == name
        assert "CONTAINER_PARTIAL_MESSAGE" not in entry


def test_sender(podman: Podman, journal: Journal) -> None:
    """E3: whenever journald looks, the sender's name is conmon."""
    name = podman.sh("seq 100; exec sleep 1000", *DRIVER)
    full_id = podman.format(name, "{{.Id}}")
    entries = until(
        lambda: found if len(found := journal.entries(full_id)) == 100 else [], "all entries"
    )
    # Read while the sender lives: of one that has gone the journal may know nothing.
    assert {entry["_COMM"] for entry in entries} == {"conmon"}


def test_tag(podman: Podman, journal: Journal) -> None:
    """C18: the tag of --log-opt is in a field of its own, and names the source."""
    _, full_id = run_logged(podman, "echo x", "--log-opt", "tag=my tag")
    (entry,) = journal.entries(full_id)
    assert entry["CONTAINER_TAG"] == "my tag"


def test_lines_in_order(podman: Podman, journal: Journal) -> None:
    """C18: nothing is lost and nothing changes places in a stream."""
    _, full_id = run_logged(podman, "seq 3000")
    messages = [message(e) for e in journal.entries(full_id)]
    assert messages == [b"%d\n" % i for i in range(1, 3001)]


def test_long_line(podman: Podman, shared: Path, journal: Journal) -> None:
    """C18: a long line comes in partial entries, marked so, that add up to it."""
    line = bytes(ord("a") + i % 26 for i in range(100_000)) + b"\n"
    podman.give_file(shared / "data", line + b"short\n")
    _, full_id = run_logged(podman, "cat /shared/data", "-v", f"{shared}:/shared")
    entries = journal.entries(full_id)
    assert message(entries[-1]) == b"short\n"
    pieces = entries[:-1]
    assert b"".join(message(e) for e in pieces) == line
    assert len(pieces) > 1
    assert all(e.get("CONTAINER_PARTIAL_MESSAGE") == "true" for e in pieces[:-1])
    assert "CONTAINER_PARTIAL_MESSAGE" not in pieces[-1]


def test_unfinished_line(podman: Podman, journal: Journal) -> None:
    """C18: what stands without a newline at the end is sent, marked as partial."""
    _, full_id = run_logged(podman, "echo whole; printf rest")
    whole, rest = journal.entries(full_id)
    assert (message(whole), message(rest)) == (b"whole\n", b"rest")
    assert "CONTAINER_PARTIAL_MESSAGE" not in whole
    assert rest["CONTAINER_PARTIAL_MESSAGE"] == "true"


def test_bytes(podman: Podman, journal: Journal) -> None:
    """C18: what is not text arrives as it is."""
    _, full_id = run_logged(podman, r"printf '\377\001\002 \303\274\n'")
    (entry,) = journal.entries(full_id)
    assert message(entry) == b"\xff\x01\x02 \xc3\xbc\n"


def test_output_still_reaches_the_user(podman: Podman, journal: Journal) -> None:
    """C12.3: journald is a log, not a place where output ends."""
    result = podman("run", "--rm", *DRIVER, IMAGE, "sh", "-c", "echo a; echo b >&2; exit 2", code=2)
    assert (result.out, result.err) == (b"a\n", b"b\n")


def test_podman_logs(podman: Podman, journal: Journal) -> None:
    """D1: podman reads it back, each stream on its own."""
    name, _ = run_logged(podman, "echo out; echo err >&2; echo more")
    journal.sync()
    result = podman("logs", name)
    assert (result.out, result.err) == (b"out\nmore\n", b"err\n")


def test_podman_logs_with_priorities(podman: Podman, journal: Journal) -> None:
    """C20.14: lines with a priority of their own do not stop podman logs, nor do partial ones."""
    script = (
        "for n in 0 1 2 3 4 5 6 7; do echo \"<$n>p$n\"; done; head -c 20000 /dev/zero | tr '\\0' x"
    )
    name, full_id = run_logged(podman, script)
    assert len(journal.entries(full_id)) > 8  # and all that was sent is written
    result = podman("logs", name)
    assert result.err == b"p0\np1\np2\np3\n"
    assert result.out.rstrip(b"\n") == b"p4\np5\np6\np7\n" + b"x" * 20000
