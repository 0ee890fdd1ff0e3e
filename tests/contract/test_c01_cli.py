"""C1, C3 end to end: exit status and streams of the binary. The texts have tests of their own."""

from __future__ import annotations

import re

import pytest
from harness import Container


def refused(container: Container, *extra: str | bytes) -> bytes:
    """Run a conmon that must refuse its options: its stderr. The caller is told the same."""
    container.launch(*extra)
    assert container.parent_status() == 1
    if not container.peer:
        text = re.sub(rb"conmon: |\[conmon:e\]: ", b"", container.stderr).removesuffix(b"\n")
        key = "data" if "--api-version" in container.options else "pid"
        assert container.report() == {key: -1, "message": text.decode()}
    assert container.message() == b""
    assert container.stdout == b""
    return container.stderr


def test_version(container: Container) -> None:
    """C1.7, D3: --version prints two lines on stdout, nothing else, and precedes validation."""
    container.options = {"--version": None, "--exit-delay": "-5"}
    container.launch()
    assert container.parent_status() == 0
    assert re.fullmatch(rb"conmon version \d+\.\d+\.\d+\ncommit: \S+\n", container.stdout)
    assert container.stderr == b""


def test_help(container: Container) -> None:
    """C1.6, D3: --help is on stdout and names what CRI-O looks for."""
    container.options = {"--help": None}
    container.launch()
    assert container.parent_status() == 0
    assert container.stdout.startswith(b"Usage:\n  conmon ")
    assert b"--exec" in container.stdout
    assert b"--log-global-size-max" in container.stdout


@pytest.mark.ours("the help text of older versions does not name journald")
def test_help_names_journald(container: Container) -> None:
    """C1.6: the help text contains journald."""
    container.options = {"--help": None}
    container.launch()
    assert container.parent_status() == 0
    assert b"journald" in container.stdout


@pytest.mark.ours("errors of option parsing are on stdout in older versions")
def test_unknown_option(container: Container) -> None:
    """C1.4: an unknown option is refused; --version before it does not matter."""
    assert refused(container, "--version", "--bogus") == (
        b"conmon: option parsing failed: Unknown option --bogus\n"
    )


def test_value_that_looks_like_an_option(container: Container) -> None:
    """C1.1: the next argument is the value, even one that starts with a dash."""
    container.record()
    container.command("exit 0")
    assert container.run("--runtime-arg", "--log-format=json") == 0
    assert b"--log-format=json\0create\0" in (container.seen / "runtime.argv").read_bytes()


def test_missing_cid(container: Container) -> None:
    """C3 stage A: the container id is required."""
    del container.options["-c"]
    assert refused(container) == b"conmon: Container ID not provided. Use --cid\n"


@pytest.mark.parametrize(
    ("without", "text"),
    [
        ("-u", "Container UUID not provided. Use --cuuid"),
        ("-r", "Runtime path not provided. Use --runtime"),
        ("-l", "Log driver not provided. Use --log-path"),
    ],
)
def test_missing_option(container: Container, without: str, text: str) -> None:
    """C3 stage B: required options, each with its text after `[conmon:e]: `."""
    del container.options[without]
    assert re.fullmatch(rb"\[conmon:e\]:? " + text.encode() + rb"\n", refused(container))


def test_runtime_that_is_not_there(container: Container) -> None:
    """C3: the runtime must be executable; the text ends in the system's reason."""
    container.options["-r"] = "/no/such/runtime"
    assert refused(container) == (
        b"[conmon:e]: Runtime path /no/such/runtime is not valid No such file or directory\n"
    )


@pytest.mark.ours("options must be valid in the locale's charset (C20.19)")
def test_path_that_is_no_text(container: Container) -> None:
    """C1.5, C20.19: a log path of any bytes works in the C locale."""
    name = b"log-\xff\xfe\xc3\xa4"
    path = bytes(container.root) + b"/logs/" + name
    container.options["-l"] = path
    container.options["--api-version"] = None
    container.command("echo out")
    container.allow("logs/" + name.decode(errors="surrogateescape"))
    container.environment["LC_ALL"] = "C"
    assert container.run() == 0
    with open(path, "rb") as log:
        assert log.read().endswith(b" stdout F out\n")
