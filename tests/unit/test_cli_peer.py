"""Bad command lines against C conmon: the same message and the same exit status.

The peer is the distribution's conmon. It is asked only about options that it has, and every
line is made so that it must fail before a container could be started. Where we differ on
purpose, the line is not in here: paths with a colon (C20.19), and other charsets (C1.5).
The peer of Debian 12 (2.1.6) writes `[conmon:e] ` before texts without parameters and
parse errors to stdout, where later ones have `[conmon:e]: ` before all and use stderr: the
prefix is taken off, and the two streams are read as one.
"""

import os
import pathlib
import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conmon import cli, diag, logdrivers

PEER = "/usr/bin/conmon"
ID = b"0123456789abcdef"

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module", autouse=True)
def peer_is_there() -> None:
    if shutil.which(PEER) is None:
        assert "CI" not in os.environ, f"{PEER} is missing"
        pytest.skip(f"compares with {PEER}, which is not installed")


@pytest.fixture(autouse=True)
def utf8_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "locale_is_utf8", lambda: True)


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def peer(args: list[bytes]) -> tuple[int, bytes]:
    """Exit status and the message without its prefix; empty for help and version."""
    run = subprocess.run(
        [PEER, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"LC_ALL": "C.UTF-8"},
        timeout=60,
        check=False,
    )
    if run.returncode == 0:
        assert run.stdout.startswith((b"Usage:", b"conmon version "))
        return 0, b""
    for prefix in (b"conmon: ", b"[conmon:e]: ", b"[conmon:e] "):
        if run.stdout.startswith(prefix):
            return run.returncode, run.stdout[len(prefix) :]
    raise AssertionError(f"not a message of conmon: {run.stdout!r}")


def ours(args: list[bytes]) -> tuple[int, bytes]:
    """What the launch life does with its arguments, up to the last check of the options."""
    try:
        options = cli.parse(args)
        if options.help or options.version:
            return 0, b""
        cli.check_early(options)
        cli.validate(options)
        plan = logdrivers.plan_paths(options)
        fd, _ = logdrivers.open_log(plan)
        if fd >= 0:
            os.close(fd)
        logdrivers.check_options(options, plan)
    except (cli.UsageError, diag.Fatal) as error:
        return 1, error.args[0] + b"\n"
    raise AssertionError("a command line of these tests must not be accepted")


# --version follows, so that a line that parses ends well with both.
SYNTAX = [
    [b"-T"], [b"-Tabc"], [b"-T5"], [b"-T=5"], [b"-T", b"5"], [b"-T", b" 5"], [b"-T", b"5 "],
    [b"-T", b"+5"], [b"-T", b"0x"], [b"-T", b"0x10"], [b"-T", b"08"], [b"-T", b"-0"],
    [b"-T", b""], [b"-T", b"-"], [b"-T", b"+-5"], [b"-T", b"1_0"],
    [b"-T", b"\xff"], [b"-T", b"2147483648"], [b"-T", b"-2147483649"], [b"-T", b"9" * 5000],
    [b"-T", b"9" * 30 + b"x"], [b"--timeout="], [b"--timeout=5"], [b"--timeout"],
    [b"--log-size-max=9223372036854775808"], [b"--log-size-max=-9223372036854775808"],
    [b"--log-size-max=-0x8000000000000001"], [b"--log-size-max=0x"], [b"--log-size-max=08"],
    [b"--log-size-max", b"\xa05"], [b"--exit-delay=99999999999"], [b"--exit-delay= -7"],
    [b"--bogus"], [b"--bogus=1"], [b"--=x"], [b"-="], [b"---"], [b"-Z"], [b"-itZ"], [b"-Zit"],
    [b"-it"], [b"-i=x"], [b"-i="], [b"-iT", b"5"], [b"-Ti", b"5"], [b"-bT", b"5"], [b"-cabc"],
    [b"-c"], [b"-ic"], [b"-ci", b"x"], [b"-0x"], [b"-0", b"x"], [b"--cid"], [b"--cid="],
    [b"--cid", b"--"], [b"--"], [b"-"], [b""], [b"x"], [b"--sync=\xff"], [b"--api-version=0"],
    [b"--api-version", b"0"], [b"--ver"], [b"--help=x"], [b"--help-conmon"], [b"-h"], [b"-?"],
    [b"-Zh"], [b"-hZ"], [b"--bogus", b"--help"], [b"--help", b"--bogus"], [b"-\xff"],
    [b"--pidfile", b"x"], [b"--pidfile"], [b"--restore-arg=x"], [b"--restore-arg"],
]  # fmt: skip


@pytest.mark.parametrize("args", SYNTAX, ids=lambda args: ascii(args)[:60])
def test_syntax(args: list[bytes]) -> None:
    """C1."""
    for line in (args, [*args, b"--version"], [*args, b"5", b"--version"]):
        assert ours(line) == peer(line)


def test_binary_numbers() -> None:
    """C1.4: strtol's own since ISO C of 2023. A peer whose libc is older refuses them."""
    args = [b"-T", b"0b11", b"--version"]
    if peer(args)[0] != 0:
        pytest.skip("the peer's libc knows no binary numbers (glibc: before 2.38)")
    assert ours(args) == peer(args)


RUNTIME = [b"-c", ID, b"-u", b"U", b"-r", b"/"]
CHECKS = [
    [], [b"-c", b""], [b"-c", b"x"], [b"-c", b"x", b"-u", b""], [b"-c", b"x", b"-e"],
    [b"-c", b"x", b"-e", b"--exec-attach"], [b"-c", b"x", b"--exec-attach"],
    [b"-c", b"x", b"-e", b"--exec-attach", b"--api-version"],
    [b"-c", b"x", b"-e", b"--restore", b""], [b"-c", b"x", b"-e", b"-r", b"/"],
    [b"-c", b"x", b"-e", b"-r", b"/", b"--exec-process-spec", b""],
    [b"-c", b"x", b"-e", b"-r", b"/", b"--api-version"],
    [b"-c", b"x", b"-u", b"y", b"-r", b""], [b"-c", b"x", b"-u", b"y", b"-r", b"/etc/passwd"],
    [b"-c", b"x", b"-u", b"y", b"-r", b"/etc/passwd/x"], [b"-c", b"x", b"-u", b"y", b"-r", b"runc"],
    [b"-c", b"x", b"-u", b"y", b"-r", b"x" * 300], [b"-c", b"x", b"--log-level", b""],
    [b"-c", b"x", b"--log-level", b"Warn"], [b"-c", b"x", b"--log-level", b"warnings"],
    [b"-c", b"x", b"--log-level", b"PANIC"], [b"-c", b"x", b"--log-level", b"err"],
    RUNTIME, [*RUNTIME, b"--exit-delay=-1"], [*RUNTIME, b"--exit-delay=-1", b"-l", b""],
    [*RUNTIME, b"--exit-delay=-1", b"--log-level=x"],
    *(
        [*RUNTIME, b"-l", spec]
        for spec in (
            b"", b":", b"::", b"k8s-file", b"k8s-file:", b"k8s-file::", b"foo:", b"foo:bar",
            b":foo:bar", b"foo::", b"journaldx:", b"JOURNALD:", b"none2:", b"rel/x:y",
            b"missing/dir", b":missing/dir", b"::missing/dir", b"k8s-file:missing/dir",
            b"k8s-file::missing/dir", b":k8s-file:missing/dir", b"/", b"k8s-file:/",
        )
    ),
    *(
        [*RUNTIME, b"-l", spec, b"-l", b"foo:"]
        for spec in (
            b"none", b"null", b"off", b"none:", b"off:x", b"passthrough", b"passthrough:x:y",
            b"journald", b"journald:", b":journald", b":journald:", b":none:x", b"::k8s-file::",
            b"missing/dir", b" ", b"k8s-file:a:b:c",
        )
    ),
    [*RUNTIME, b"-l", b"foo:", b"-l", b""],
    [*RUNTIME, b"-l", b"missing/dir", b"--log-tag", b"x"],
    [*RUNTIME, b"-l", b"log", b"--log-tag", b"x"], [*RUNTIME, b"-l", b"log", b"--log-tag="],
    [*RUNTIME, b"-l", b"log", b"-l", b"none:x", b"--log-tag", b"x"],
    [*RUNTIME, b"-c", b"short", b"-l", b"journald"],
    [*RUNTIME, b"-c", b"0123456789ab", b"-l", b"journald", b"--log-tag", b"x"],
    [*RUNTIME, b"-c", b"short", b"-l", b"journald", b"-l", b"log", b"--log-tag", b"x"],
    [*RUNTIME, b"-c", b"short", b"-l", b"journald", b"-l", b"missing/dir"],
]  # fmt: skip


@pytest.mark.parametrize("args", CHECKS, ids=lambda args: ascii(args)[:60])
def test_checks(args: list[bytes]) -> None:
    """C3, C9: texts and order."""
    assert ours(args) == peer(args)


def test_working_directory_that_is_gone(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3: an error even where every path is given."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for more in ([], [b"-b", b"/b", b"-p", b"/p"]):
        line = [*RUNTIME, b"--exit-delay=-1", *more]
        assert ours(line) == peer(line)
        assert ours(line)[1] == b"Failed to get working directory\n"


WORDS = [
    b"-T", b"-t", b"-i", b"-e", b"-c", b"-u", b"-b", b"-it", b"-iT", b"-Ti", b"-cT", b"-s",
    b"--timeout", b"--timeout=5", b"--timeout=x", b"--cid", b"--cid=x", b"--cuuid=x", b"--exec",
    b"--exec-attach", b"--exec-process-spec=x", b"--restore=x", b"--api-version", b"--sync",
    b"--exit-delay=-1", b"--log-level=info", b"--log-level=x", b"--log-tag=x", b"-lnone",
    b"-l", b"none", b"foo:", b"--log-size-max", b"5", b"-5", b"0x", b"", b"-", b"--", b"x",
    b"--version", b"--help", b"-h", b"--bogus", b"-Z", b"--syslog=1", b"-r", b"missing",
]  # fmt: skip
LETTERS = st.text("-=itTceu05h ", max_size=5).map(str.encode)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.sampled_from(WORDS) | LETTERS, max_size=12))
def test_any_words(words: list[bytes]) -> None:
    """C1, C3: no runtime is ever found in these lines, so none of them starts anything."""
    assert ours(words) == peer(words)
