"""conmon under a filter of system calls that knows no children in their parent's memory."""

from __future__ import annotations

from harness import Container
from harness_log import lines
from harness_rooms import STANDIN

FILTER = str(STANDIN / "no-shared-memory")


def test_background_and_runtime_by_fork(container: Container) -> None:
    """C4.7, C4.16: where the kernel refuses the cheaper way, all goes as it always does."""
    container.command("echo out; exit 3")
    assert container.run(wrapper=[FILTER]) == 3
    assert lines(container.log.read_bytes()) == [b"out\n"]
    assert container.wait_exit_file() == b"3"
    assert container.parent_status() == 0
