"""C13, C11.4, C11.5, D2: `2 0 0` through ctl: CRI-O and the kubelet rotate logs themselves."""

from __future__ import annotations

import pytest
from harness import Container
from harness_counters import read_counters, wait_counters
from harness_log import OVERHEAD, lines

ROTATE = ["--log-rotate", "--log-max-files", "3"]


def reopen(container: Container) -> None:
    """As CRI-O does."""
    (container.bundle / "ctl").write_bytes(b"2 0 0\n")


def wait_event(container: Container) -> None:
    """Ask, and wait as CRI-O does for the log to be made or changed, counted from now on."""
    container.wait_until(lambda: True, "all earlier events")
    container.events.clear()
    reopen(container)
    container.wait_until(
        lambda: any(
            event.directory == "logs"
            and event.name == "ctr.log"
            and event.what in ("CREATE", "MOVED_TO", "MODIFY")
            for event in container.events
        ),
        "the log to be made or changed",
    )


def launch_quiet(container: Container, *options: str) -> None:
    """A container that writes one line, waits, and writes another."""
    container.fifo("go")
    container.command("echo first; read -r _ <go; echo second")
    container.launch(*options)
    container.started()
    container.wait_log(b"first\n")


def finish(container: Container) -> None:
    container.open_fifo(container.bundle / "go")
    assert container.end() == 0


@pytest.mark.parametrize(
    "options",
    [[], pytest.param(ROTATE, marks=pytest.mark.ours("goes on in the moved file (C11.4)"))],
)
def test_after_the_log_was_moved(container: Container, options: list[str]) -> None:
    """C11.4: later output is in a new file of the log's name, earlier output where it was."""
    container.allow("logs/ctr.log.moved")
    launch_quiet(container, *options)
    moved = container.log.with_name("ctr.log.moved")
    container.log.rename(moved)
    wait_event(container)
    finish(container)
    assert lines(moved.read_bytes()) == [b"first\n"]
    assert lines(container.log.read_bytes()) == [b"second\n"]


@pytest.mark.ours("the log is replaced by an empty one (C11.5)")
def test_in_place(container: Container) -> None:
    """C11.5: where nobody has moved the log it stays, with what is in it; and D2: it is seen."""
    launch_quiet(container)
    before = container.log.stat().st_ino
    for _ in range(3):
        wait_event(container)
    finish(container)
    assert container.log.stat().st_ino == before
    assert lines(container.log.read_bytes()) == [b"first\n", b"second\n"]


@pytest.mark.ours("older versions have no --log-rotate")
def test_in_place_with_rotation(container: Container) -> None:
    """C11.1: where nobody has moved the log it is rotated; an empty one is not, but it is seen."""
    container.allow("logs/ctr.log.1")
    launch_quiet(container, *ROTATE)
    for _ in range(5):
        wait_event(container)
    finish(container)
    assert lines(container.log.with_name("ctr.log.1").read_bytes()) == [b"first\n"]
    assert lines(container.log.read_bytes()) == [b"second\n"]


@pytest.mark.parametrize("options", [[], ROTATE])
@pytest.mark.ours("no counters")
def test_many_requests(container: Container, options: list[str]) -> None:
    """C13, D2: requests that are read together cost one reopening, and a later one another."""
    container.allow("logs/ctr.log.1")
    launch_quiet(container, *options)
    (container.bundle / "ctl").write_bytes(b"2 0 0\n" * 33)  # one read of conmon's takes 200 bytes
    wait_event(container)
    wait_counters(container, lambda now: now["reopens"] >= 2)
    counters = read_counters(container)
    finish(container)
    assert counters["reopens"] == 2


@pytest.mark.parametrize("options", [[], ROTATE])
@pytest.mark.ours("older versions lose records, or have no --log-rotate")
def test_where_somebody_made_a_new_log(container: Container, options: list[str]) -> None:
    """C11.4: logrotate's `create`: the file that is there is appended to; and D2: it is seen."""
    container.allow("logs/ctr.log.moved")
    launch_quiet(container, *options)
    moved = container.log.with_name("ctr.log.moved")
    container.log.rename(moved)
    container.log.write_bytes(b"2020-01-01T00:00:00.000000000+00:00 stdout F theirs\n")
    wait_event(container)
    finish(container)
    assert lines(moved.read_bytes()) == [b"first\n"]
    assert lines(container.log.read_bytes()) == [b"theirs\n", b"second\n"]


@pytest.mark.parametrize("move", [True, False])
@pytest.mark.parametrize(
    "options", [[], ["--log-rotate", "--log-max-files", "99"]], ids=["plain", "rotate"]
)
@pytest.mark.ours("loses what is in the log, or has no --log-rotate")
def test_while_the_container_writes(container: Container, options: list[str], move: bool) -> None:
    """C11.4, C11.5: at full speed no record is lost, doubled or torn by moves and requests."""
    container.fifo("go")
    container.fifo("end")
    count = 300_000
    container.put("data", b"".join(b"%06d\n" % number for number in range(count)))
    container.command("read -r _ <go; cat data; echo done; read -r _ <end")
    container.launch(*options)
    container.started()
    container.open_fifo(container.bundle / "go")
    moved = []
    whole = count * (OVERHEAD + 7) + OVERHEAD + 5
    for number in range(1, 21):
        # spread over the output by its size, not by time
        wait_size(container, number * whole // 30)
        if move:
            moved.append(container.log.with_name(f"ctr.log.moved{number}"))
            container.allow(f"logs/{moved[-1].name}")
            container.log.rename(moved[-1])
        reopen(container)
        if move:
            container.wait_name(container.log)
    wait_size(container, whole)
    container.open_fifo(container.bundle / "end")
    assert container.end() == 0
    numbers = [int(path.suffix[1:]) for path in container.log.parent.glob("ctr.log.[0-9]*")]
    old = [container.log.with_name(f"ctr.log.{i}") for i in sorted(numbers, reverse=True)]
    container.allow(*(f"logs/{path.name}" for path in old))
    found = b"".join(path.read_bytes() for path in [*moved, *old, container.log])
    assert lines(found) == [*(b"%06d\n" % number for number in range(count)), b"done\n"]


def wait_size(container: Container, size: int) -> None:
    """Wait until so many bytes are in log, old logs and logs that were moved away."""

    def reached() -> bool:
        try:
            return sum(path.stat().st_size for path in container.log.parent.iterdir()) >= size
        except FileNotFoundError:
            return False  # renamed under our eyes: of that there will be an event

    container.wait_until(reached, f"{size} bytes")
