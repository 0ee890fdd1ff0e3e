"""The order of conmon's steps, by the system calls that others can notice (strace(1))."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from differential.view import View
from harness import Container

CALLS = "%file,write,writev,bind,fsync,exit_group"
#: A line of `strace -f`: pid, call, arguments, result. What is resumed is put together before.
LINE = re.compile(r"(?P<pid>\d+) +(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?)")
UNFINISHED = re.compile(r"(?P<pid>\d+) +(?P<begin>.*) <unfinished \.\.\.>$")
RESUMED = re.compile(r"(?P<pid>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)$")
#: What a step is: the call, a pattern for its arguments, its name.
STEPS = (
    ("openat", r'.*"(?P<path>ROOT/logs/[^"]*)", .*O_CREAT', "open {path}"),
    ("openat", r'.*"ROOT/run/pidfile"', "read the pid file"),
    ("rename(at)?", r'.*"(?P<path>ROOT/(run|exits|persist)/[^"]*)"(, 0)?$', "rename to {path}"),
    ("bind", r'.*sun_path="(?P<path>.*(attach|conmon-term|notify.sock).*)"', "bind a socket"),
    ("mknod(at)?", r'.*"(?P<path>ROOT/bundle/\w+)"', "make {path}"),
    ("symlink(at)?", r'.*"(?P<path>ROOT/sockets/[^"]*)"', "link {path}"),
    ("unlink(at)?", r'.*"(?P<path>[^"]*/(attach|UUID))"', "remove {path}"),
    ("unlink(at)?", r'\d+, "(?P<path>attach)"', "remove {path}"),
    ("write", r'\d+, "(?P<json>\{.*)\\n"', "report {json}"),
    ("fsync", r".*", "fsync"),
    ("execve", r'"STANDIN/(?P<path>[\w-]+)"', "execute {path}"),
)


class Trace:
    """Follows conmon and its children, not what these execute."""

    def __init__(self, container: Container) -> None:
        if shutil.which("strace") is None:
            assert "CI" not in os.environ, "strace is missing"
            pytest.skip("the order of steps is seen by strace, which is not installed")
        self.container = container
        self.path = container.root / "run" / "trace"
        # -D: the tracer is nobody's parent, conmon stays the child of who starts it
        self.wrapper = ["strace", "-D", "-f", "-qq", "-s", "256", "-e", f"trace={CALLS}",
                        "-e", "signal=none", "-o", str(self.path)]  # fmt: skip

    def notes(self) -> dict[str, list[str]]:
        """The steps of the monitor, with what it executes, and those of who started it.

        Both go on at the same time, so each has an order of its own.
        """
        view = View(self.container)
        started = str(self.container.parent.pid)
        monitor = str(self.container.monitor.pid)
        found: dict[str, list[str]] = {"steps": [], "steps of the started process": []}
        for pid, call, arguments, result in whole_calls(self.path):
            name = step(call, view.numbers(arguments)) if not result.startswith("-") else ""
            if pid == monitor or name.startswith("execute "):
                aspect = "steps"
            elif pid == started:
                aspect = "steps of the started process"
            else:
                continue
            if name:
                found[aspect].append(name)
        return found


def whole_calls(path: Path) -> list[tuple[str, str, str, str]]:
    """Pid, call, arguments and result of each line, unfinished ones where they end."""
    begun: dict[str, str] = {}
    found = []
    for text in path.read_text(errors="backslashreplace").splitlines():
        line = text
        if unfinished := UNFINISHED.match(line):
            begun[unfinished["pid"]] = unfinished["begin"]
            continue
        if resumed := RESUMED.match(line):
            pid = resumed["pid"]
            line = f"{pid} {begun.pop(pid, '')}{resumed['rest']}"
        if match := LINE.match(line):
            found.append((match["pid"], match["call"], match["arguments"], match["result"]))
    return found


def step(call: str, arguments: str) -> str:
    """The name of the step that a call is; nothing if it is none."""
    for calls, pattern, name in STEPS:
        match = re.match(pattern, arguments) if re.fullmatch(calls, call) else None
        if match:
            return name.format(**match.groupdict()).replace('\\"', '"')
    return ""
