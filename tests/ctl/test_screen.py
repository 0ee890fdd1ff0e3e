"""conmonctl on a real terminal: what people see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Container

from conmon.ctl.commands.ps import COLUMNS

from .scenes import cid, finish, name, running
from .tmux import Screen

Screens = Callable[..., Screen]


def cells(line: str) -> list[str]:
    """The words of a line of a table."""
    return line.split()


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_ps_fits(screen: Screens, container: Container, columns: int) -> None:
    """ps: a line for each monitor, in any width; a note names the columns that have no room."""
    running(container)
    lines = screen(columns).run(f"conmonctl ps {name(container)}")
    assert all(len(line) <= columns for line in lines)
    head, row = cells(lines[0]), cells(lines[1])
    assert head[:2] == ["CONTAINER", "NAME"]
    assert row[:2] == [cid(container)[:12], name(container)]
    if columns == 120:
        assert len(head) == len(COLUMNS)
        assert len(lines) == 2
    else:
        hidden = lines[2].removeprefix("too narrow for ")
        assert hidden != lines[2]
        assert not set(head) & set(hidden.split(", "))
        if columns == 80:
            assert sorted(head + hidden.split(", ")) == sorted(c.title for c in COLUMNS)
    finish(container)


def test_colours(screen: Screens, container: Container) -> None:
    """Styles on a terminal; with NO_COLOR no colour; nothing of the kind on a dumb one."""
    running(container, "echo error >&2")
    command = f"conmonctl ps {name(container)}"
    assert any("\x1b[1m" in line for line in screen(120).run(command, colours=True))
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        setting = " ".join(f"{key}={value}" for key, value in environment.items())
        lines = screen(120).run(f"{setting} {command}", colours=True)
        assert not any("\x1b[3" in line and "\x1b[39" not in line for line in lines)
        if "TERM" in environment:
            assert not any("\x1b" in line for line in lines)
    finish(container)


def test_nothing_to_show(screen: Screens, container: Container) -> None:
    """What is not there is said in a line."""
    lines = screen(80).run("conmonctl ps no-such-container; echo $?")
    assert lines[0] == "conmonctl: no container on this host is called 'no-such-container'"
    assert lines[-1] == "3"


def test_stats_live(screen: Screens, container: Container) -> None:
    """stats -f is written in place; ctrl-c leaves the last view, and the cursor."""
    fifo = container.fifo("say")
    running(container, "while read -r line; do echo $line; done <say &")
    terminal = screen(100)
    terminal.type(f"conmonctl stats -f -i 0.1 {cid(container)}")
    terminal.press("Enter")
    first = terminal.wait_text("PER SECOND")
    assert sum("bytes_in" in line for line in first) == 1
    container.open_fifo(fifo, b"hello\n")
    shown = terminal.wait(
        lambda lines: any(cells(line)[:2] == ["bytes_in", "6"] for line in lines), "6 bytes"
    )
    assert sum("bytes_in" in line for line in shown) == 1
    assert any("bytes from the container" in line for line in shown)
    terminal.press("C-c")
    left = terminal.wait(lambda lines: lines[-1] == "$", "prompt")
    assert sum("bytes_in" in line for line in left) == 1
    finish(container)


def test_logs_on_a_terminal(screen: Screens, container: Container) -> None:
    """logs -f: both streams in their order; ctrl-c ends it without a word."""
    running(container, "echo one; echo two >&2; printf 'three: '")
    container.wait_log(b"three")
    terminal = screen(80)
    terminal.type(f"clear; conmonctl logs -f {name(container)}")
    terminal.press("Enter")
    lines = terminal.wait_text("three:")
    assert lines[-3:] == ["one", "two", "three:"]
    terminal.press("C-c")
    lines = terminal.wait(lambda lines: lines[-1] == "$", "prompt")
    assert not any("Traceback" in line or "conmonctl:" in line for line in lines)
    finish(container)


def test_help_fits(screen: Screens) -> None:
    """Help is as wide as the terminal, at most 100 columns."""
    for columns in (50, 80, 160):
        lines = screen(columns, 60).run("conmonctl attach --help")
        assert lines[0].startswith("Usage: conmonctl attach")
        assert max(map(len, lines)) <= min(columns, 100) or columns == 50


@pytest.mark.parametrize(
    ("shell", "start"),
    [
        ("bash --norc", "source <(conmonctl completion bash)"),
        ("zsh -f", "autoload -Uz compinit; compinit -u -D; source <(conmonctl completion zsh)"),
        ("fish --no-config", "conmonctl completion fish | source"),
    ],
    ids=["bash", "zsh", "fish"],
)
def test_completion(
    screen: Screens, container: Container, need: Callable[[str], str], shell: str, start: str
) -> None:
    """The shells complete commands, options, and the names and ids of containers."""
    running(container)
    need(shell.split(maxsplit=1)[0])
    terminal = screen(100, shell=shell)
    terminal.type(f"{start}; clear; echo ready")
    terminal.press("Enter")
    terminal.wait(lambda lines: "ready" in lines, "shell")
    for typed, wanted in (
        ("conmonctl resi", "conmonctl resize "),
        ("conmonctl attach --det", "conmonctl attach --detach-keys "),
        (f"conmonctl attach {name(container)[:-2]}", f"conmonctl attach {name(container)} "),
        (f"conmonctl logs -f {cid(container)[:9]}", f"conmonctl logs -f {cid(container)} "),
    ):
        terminal.type(typed)
        terminal.press("Tab")
        terminal.wait_text(wanted.rstrip())
        terminal.press("C-u")
    terminal.type("exit")
    finish(container)
