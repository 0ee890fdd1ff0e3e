"""C4: callers that leave a process in an odd state."""

from __future__ import annotations

import pytest
from harness import Container

SH = ("/bin/sh", "-c")


@pytest.mark.ours("it waits for ever")
def test_caller_that_ignores_sigchld(container: Container) -> None:
    """C4.18: a caller's SIG_IGN for SIGCHLD, by which the kernel would reap for us, is undone."""
    container.command("exit 4")
    assert container.run(wrapper=[*SH, 'trap "" CHLD; exec "$@"', "sh"]) == 4


@pytest.mark.ours("the log takes the number of a closed fd and is lost")
def test_caller_with_closed_stdio(container: Container) -> None:
    """C4.11: no file becomes fd 0, 1 or 2, which are let go of later."""
    container.command("echo logged; exit 4")
    assert container.run(wrapper=[*SH, 'exec "$@" <&- >&- 2>&-', "sh"]) == 4
    assert container.log.read_bytes().endswith(b" stdout F logged\n")
