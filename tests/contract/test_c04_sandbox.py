"""conmon under a strict filter of system calls."""

from __future__ import annotations

from harness import Container
from harness_log import lines
from harness_rooms import STANDIN

SANDBOX = str(STANDIN / "sandbox")


def test_background_and_runtime_by_fork(container: Container) -> None:
    """C4.7, C4.16: where the kernel refuses the cheaper way, all goes as it always does."""
    container.command("echo out; exit 3")
    assert container.run(wrapper=[SANDBOX]) == 3
    assert lines(container.log.read_bytes()) == [b"out\n"]
    assert container.wait_exit_file() == b"3"
    assert container.parent_status() == 0


def test_output_that_nobody_wants_without_splice(container: Container) -> None:
    """C9: with log driver none it is taken all the same: the container does not stand still."""
    container.options["-l"] = "none"
    container.put("data", b"line\n" * 100_000)
    container.command("exec cat data")
    assert container.run(wrapper=[SANDBOX]) == 0
