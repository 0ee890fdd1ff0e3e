"""conmonctl resize and reopen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Container
from harness_terminal import wait_size, with_terminal

from .scenes import finish, name, running
from .tool import Tool


@pytest.mark.parametrize("peer_too", [False, True], ids=["ours", "C"])
def test_resize(
    conmonctl: Tool, make: Callable[..., Container], request: pytest.FixtureRequest, peer_too: bool
) -> None:
    """C13: the container's terminal takes the size; C conmon's too."""
    container = make(request.getfixturevalue("peer")) if peer_too else make()
    with_terminal(container)
    running(container)
    done = conmonctl("resize", name(container), "--rows", "33", "--columns", "101")
    assert (done.out, done.err) == ("", "")
    wait_size(container, 33, 101)
    finish(container)


def test_resize_refusals(conmonctl: Tool, container: Container) -> None:
    """resize: without a terminal there is nothing to resize; a size has its limits."""
    running(container)
    size = ("--rows", "3", "--columns", "4")
    assert "has no terminal" in conmonctl("resize", name(container), *size, code=1).err
    conmonctl("resize", name(container), "--rows", "3", code=2)
    conmonctl("resize", name(container), "--rows", "1001", "--columns", "4", code=2)
    conmonctl("resize", "no-such-container", *size, code=3)
    finish(container)


def test_reopen(conmonctl: Tool, make: Callable[..., Container]) -> None:
    """C11.4: after reopen the log has its name again, in all that were named."""
    containers = [make(), make()]
    for container in containers:
        running(container)
        container.allow("logs/moved")
        container.log.rename(container.log.with_name("moved"))
    conmonctl("reopen", *(name(container) for container in containers))
    for container in containers:
        assert container.log.exists()
        finish(container)


def test_reopen_in_place(conmonctl: Tool, container: Container) -> None:
    """C11.5: a log that is in its place keeps what is in it."""
    running(container, "echo hello")
    container.wait_log(b" hello\n")
    conmonctl("reopen", name(container))
    assert b" hello\n" in container.log.read_bytes()
    finish(container)


def test_reopen_c_conmon(conmonctl: Tool, make: Callable[..., Container], peer: Path) -> None:
    """C11.5: a log that a C conmon would empty is refused; once moved away it is reopened."""
    container = make(peer)
    running(container, "echo hello")
    container.wait_log(b" hello\n")
    done = conmonctl("reopen", name(container), code=1)
    assert "would empty it" in done.err
    assert b" hello\n" in container.log.read_bytes()
    container.allow("logs/moved")
    container.log.rename(container.log.with_name("moved"))
    conmonctl("reopen", name(container))
    assert container.log.exists()
    conmonctl("reopen", "--force", name(container))
    finish(container)


def test_reopen_refusals(conmonctl: Tool, container: Container) -> None:
    """reopen: something to reopen must be named; no log file is no success."""
    container.options["-l"] = "none"
    running(container)
    conmonctl("reopen", code=2)
    conmonctl("reopen", "--all", name(container), code=2)
    assert "logs to no file" in conmonctl("reopen", name(container), code=1).err
    finish(container)


def test_a_fifo_that_is_none(conmonctl: Tool, container: Container) -> None:
    """Nothing is written to what took the place of the ctl fifo."""
    with_terminal(container)
    running(container)
    ctl = container.bundle / "ctl"
    ctl.rename(container.root / "aside")
    ctl.write_bytes(b"")
    size = ("--rows", "3", "--columns", "4")
    conmonctl("resize", name(container), *size, code=1)
    assert ctl.read_bytes() == b""
    ctl.unlink()
    victim = container.root / "victim"
    victim.write_bytes(b"")
    ctl.symlink_to(victim)
    conmonctl("resize", name(container), *size, code=1)
    assert victim.read_bytes() == b""
    victim.unlink()
    ctl.unlink()
    os.rename(container.root / "aside", ctl)
    finish(container)
