"""Scenarios of command lines: those that are refused, and those that only ask."""

from __future__ import annotations

import re
from collections.abc import Sequence

from differential.stage import Scenario, Stage

SCENARIOS: list[Scenario] = []


def refused(
    name: str, what: str, *extra: str, without: Sequence[str] = (), **changed: str | None
) -> None:
    """A command line with more options, without some, or with others. Nothing is started.

    `changed` names options by their letter.
    """

    def play(stage: Stage) -> None:
        options = stage.container.options
        for option in without:
            del options[option]
        for letter, value in changed.items():
            options["-" + letter] = value if value is None else value.replace("ROOT", root(stage))
        stage.launch(*(word.replace("ROOT", root(stage)) for word in extra))
        stage.finish()

    SCENARIOS.append(Scenario(name, what, play))


def root(stage: Stage) -> str:
    return str(stage.container.root)


refused("unknown option", "An option that there is not.", "--bogus")
refused("unknown letter", "A letter that is no option.", "-Z")
refused("missing value", "The last option lacks its value.", "--timeout")
refused("no integer", "A word where a number is due.", "--log-size-max", "abc")
refused("integer out of range", "A number beyond 32 bits.", "--timeout", "2147483648")
refused("no container id", "--cid is missing.", without=["-c"])
refused("no uuid", "--cuuid is missing.", without=["-u"])
refused("no runtime", "--runtime is missing.", without=["-r"])
refused("runtime not there", "The runtime does not exist.", r="/no/such/runtime")
refused("log level", "A log level that there is not.", "--log-level", "foo")
refused("exec and restore", "Two modes at once.", "--exec", "--restore", "/image")
refused("attach without exec", "--exec-attach is for sessions.", "--exec-attach")
refused("exec without a process", "--exec-process-spec is missing.", "--exec")
refused("negative exit delay", "--exit-delay is below 0.", "--exit-delay", "-1")
refused("no log path", "--log-path is missing.", without=["-l"])
refused("unknown log driver", "A log driver that there is not.", l="syslog:x")
refused("log driver without a file", "k8s-file without a path.", l="k8s-file:")
refused("log directory missing", "The log cannot be opened.", l="ROOT/logs/missing/ctr.log")
refused("log is a directory", "The log is a directory.", l="ROOT/logs")
refused("log tag with a file", "--log-tag is for the journal.", "--log-tag", "tag")
refused("journald and a short id", "The journal wants 13 characters.", l="journald", c="short")
refused("two faults", "The first of two faults is told.", "--bogus", "--log-level", "foo")


def asks(name: str, what: str, *extra: str) -> None:
    """A command line that is answered on stdout; only whether there is an answer is compared."""

    def play(stage: Stage) -> None:
        stage.launch(*extra)
        container = stage.container
        stage.notes["exit status"].append(f"started process {container.parent_status()}")
        if container.stdout:
            stage.notes["stdout"].append(" ".join(container.stdout.decode().split()[:2]))
        stage.notes["stderr"] += container.stderr.decode().splitlines()
        stage.notes["options in the help"] += sorted(
            re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", container.stdout.decode(), re.MULTILINE)
        )
        stage.notes["files"] += stage.view.files()

    SCENARIOS.append(Scenario(name, what, play))


asks("version", "--version.", "--version")
asks("help", "--help: which options it names.", "--help")
asks("version and a fault", "--version and an option that there is not.", "--version", "--bogus")
