"""Command lines of container monitors and OCI runtimes.

Sources: the help texts of runc and crun, and the OCI runtime command line interface; the options of
a monitor are in conmon.options.
A value may be the next word or follow "="; it follows a short option directly, too. Programs in Go
take long options with a single "-".
"""

from __future__ import annotations

import enum
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from conmon.options import OPTIONS

_ID = re.compile(r"[A-Za-z0-9_+.-]+\Z")

# options of runtimes that take a value, before and behind the subcommand
_GLOBAL = {"root", "log", "log-format", "log-level", "criu", "rootless", "cgroup-manager"}
_LOCAL = {
    "bundle", "b", "config", "f", "console-socket", "pidfd-socket", "pid-file", "preserve-fds",
    "image-path", "work-path", "parent-path", "manage-cgroups-mode", "empty-ns", "lsm-profile",
    "lsm-mount-context",
}  # fmt: skip
# options of a monitor that take none; one that we do not know is taken to have a value
_MONITOR_FLAGS = {"help", "h"}
for _long, _short, _kind, _ in OPTIONS:
    if _kind == "flag":
        _MONITOR_FLAGS |= {_long.decode(), _short.decode()}


class Verb(enum.StrEnum):
    """Subcommands of a runtime that make a container, or run its entry point."""

    CREATE = "create"
    RUN = "run"
    RESTORE = "restore"
    START = "start"


@dataclass(frozen=True, slots=True)
class RuntimeCall:
    """What a runtime is asked to do. Paths are as given: they may be relative."""

    verb: Verb
    container_id: str
    bundle: str = "."
    pid_file: str = ""
    #: `--root`: where the runtime keeps its state
    root: str = ""


@dataclass(frozen=True, slots=True)
class MonitorCall:
    """Whom a monitor watches over."""

    container_id: str
    name: str = ""
    bundle: str = "."
    pid_file: str = ""
    #: it is for a process that is executed in a running container
    is_exec: bool = False


def is_container_id(text: str) -> bool:
    """Whether runtimes take this as an id; it is part of paths then."""
    return bool(_ID.match(text)) and text not in (".", "..")


def runtime_call(argv: Sequence[str]) -> RuntimeCall | None:
    """Read a runtime's command line; None for subcommands that are no Verb, and for nonsense."""
    words = iter(argv[1:])
    given: dict[str, str] = {}
    verb = ""
    for name, value in _options(words, _GLOBAL.__contains__, _GLOBAL):
        if not name:
            verb = value
            break
        given[name] = value
    if verb not in Verb.__members__.values():
        return None
    positionals = []
    for name, value in _options(words, _LOCAL.__contains__, _LOCAL):
        if name:
            given[name] = value
        else:
            positionals.append(value)
    if not positionals or not is_container_id(positionals[-1]):
        return None
    return RuntimeCall(
        verb=Verb(verb),
        container_id=positionals[-1],
        bundle=given.get("bundle") or given.get("b") or ".",
        pid_file=given.get("pid-file", ""),
        root=given.get("root", ""),
    )


def monitor_call(argv: Sequence[str]) -> MonitorCall | None:
    """Read a monitor's command line; None if it is no monitor's."""

    def takes_value(name: str) -> bool:
        return name not in _MONITOR_FLAGS

    given = dict(_options(iter(argv[1:]), takes_value))
    container_id = given.get("cid") or given.get("c") or ""
    if not is_container_id(container_id) or not {"r", "runtime"} & given.keys():
        return None
    return MonitorCall(
        container_id,
        name=given.get("name") or given.get("n") or "",
        bundle=given.get("bundle") or given.get("b") or ".",
        pid_file=given.get("container-pidfile") or given.get("p") or f"pidfile-{container_id}",
        is_exec="exec-process-spec" in given,
    )


def _options(
    words: Iterator[str], takes_value: Callable[[str], bool], long: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """Options as (name, value), positionals as ("", word). `long`: may come with a single "-"."""
    for word in words:
        if word == "--":
            yield from (("", rest) for rest in words)
        elif not word.startswith("-") or word == "-":
            yield "", word
        else:
            name, equals, value = word.lstrip("-").partition("=")
            if not word.startswith("--") and name not in long:
                # one letter, or several of which the last may have a value
                letters = itertools.takewhile(lambda letter: not takes_value(letter), word[1:])
                end = 1 + sum(1 for _ in letters)
                name, equals, value = word[end : end + 1], word[end + 1 :], word[end + 1 :]
            if equals:
                yield name, value
            elif name:
                yield name, next(words, "") if takes_value(name) else ""
