"""The checks of the options: texts, order, defaults (CONTRACT C2, C3)."""

import errno
import os
import pathlib

import pytest

from conmon import cli, diag

CREATE = [b"-c", b"ID", b"-u", b"UUID", b"-r", b"/runtime"]
EXEC = [b"-c", b"ID", b"-e", b"-r", b"/runtime", b"--exec-process-spec", b"/spec"]


def validated(*args: bytes) -> cli.Options:
    options = cli.parse(list(args))
    cli.check_early(options)
    cli.validate(options, getcwd=lambda: b"/cwd", access=lambda _path, _mode: True)
    return options


def early_error(*args: bytes) -> bytes:
    with pytest.raises(cli.UsageError) as caught:
        cli.check_early(cli.parse(list(args)))
    text = caught.value.args[0]
    assert isinstance(text, bytes)
    return text


def fatal(*args: bytes) -> bytes:
    with pytest.raises(diag.Fatal) as caught:
        validated(*args)
    text = caught.value.args[0]
    assert isinstance(text, bytes)
    return text


def test_early_checks_in_order() -> None:
    """C3 stage A: the number of log files, then the container id."""
    assert early_error(b"--log-max-files=-1", b"--log-rotate") == (
        b"log-max-files must be non-negative, got -1"
    )
    assert early_error(b"--log-max-files=0", b"--log-rotate") == (
        b"log-max-files must be at least 1 when log-rotate is enabled, got 0"
    )
    assert early_error(b"--log-max-files=0") == b"Container ID not provided. Use --cid"
    cli.check_early(cli.parse([b"-c", b"ID", b"--log-max-files=0"]))
    cli.check_early(cli.parse([b"-c", b"ID", b"--log-max-files=1", b"--log-rotate"]))


def test_empty_ids_are_given() -> None:
    """C3: only an absent option is missing, an empty value is the caller's business."""
    options = validated(b"-c", b"", b"-u", b"", *CREATE[4:])
    assert options.container_pidfile == b"/cwd/pidfile-"
    assert options.cuuid == b""


STAGE_B = [
    ([b"--log-level", b"foo"], b"No such log level foo"),
    ([b"-e", b"--restore", b""], b"Cannot use 'exec' and 'restore' at the same time"),
    ([b"--exec-attach"], b"Attach can only be specified with exec"),
    ([b"-e", b"--exec-attach"], b"Attach can only be specified for a non-legacy exec session"),
    ([], b"Container UUID not provided. Use --cuuid"),
    ([b"-u", b"U"], b"Runtime path not provided. Use --runtime"),
    (
        [b"-u", b"U", b"-r", b"", b"-e"],
        b"Runtime path  is not valid No such file or directory",
    ),
    (
        [b"-u", b"U", b"-r", b"/", b"-e"],
        b"Exec process spec path not provided. Use --exec-process-spec",
    ),
    ([b"-u", b"U", b"-r", b"/"], b"Failed to get working directory"),
]


@pytest.mark.parametrize(("args", "text"), STAGE_B)
def test_stage_b_texts(args: list[bytes], text: bytes) -> None:
    """C3 stage B: each text, with every later fault present, too."""
    options = cli.parse([b"-c", b"ID", b"--exit-delay=-1", *args])

    def no_cwd() -> bytes:
        raise FileNotFoundError

    with pytest.raises(diag.Fatal) as caught:
        cli.validate(options, getcwd=no_cwd)
    assert caught.value.args == (text,)


@pytest.mark.parametrize("earlier", range(3))
def test_stage_b_order_of_the_first_checks(earlier: int) -> None:
    """C3 stage B: level, then exec with restore, then attach, then the id and the runtime."""
    faults = [[b"--log-level="], [b"-e", b"--restore", b"x"], [b"--exec-attach"]]
    texts = [
        b"No such log level ",
        b"Cannot use 'exec' and 'restore' at the same time",
        b"Attach can only be specified with exec",
    ]
    args = [word for fault in faults[earlier:] for word in fault]
    assert fatal(b"-c", b"ID", *args) == texts[earlier]


def test_exit_delay_comes_last() -> None:
    """C3 stage B."""
    text = b"Delay before invoking exit command must be greater than or equal to 0"
    assert fatal(*CREATE, b"--exit-delay", b"-1") == text
    assert validated(*CREATE, b"--exit-delay", b"0").exit_delay == 0


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (None, b"warn"), (b"error", b"error"), (b"fatal", b"error"), (b"PANIC", b"error"),
        (b"warn", b"warn"), (b"Warning", b"warn"), (b"info", b"info"), (b"DEBUG", b"debug"),
        (b"TraCe", b"trace"),
    ],
)  # fmt: skip
def test_log_levels(level: bytes | None, expected: bytes) -> None:
    """C2: five levels with their aliases, in any case; warn is the default."""
    args = [] if level is None else [b"--log-level", level]
    assert validated(*CREATE, *args).log_level == expected


@pytest.mark.parametrize("level", [b"", b"warnings", b"err", b"0", b"w\xffrn"])
def test_unknown_log_level_is_shown_as_given(level: bytes) -> None:
    """C3."""
    assert fatal(*CREATE, b"--log-level", level) == b"No such log level " + level


def test_cuuid_is_not_needed_by_a_legacy_exec_only() -> None:
    """C2: CRI-O's exec has no -u."""
    assert validated(*EXEC).cuuid is None
    assert fatal(*EXEC, b"--api-version") == b"Container UUID not provided. Use --cuuid"


def test_attach_with_exec_of_api_1() -> None:
    """C2: podman's exec session."""
    assert validated(*EXEC, b"--api-version", b"-u", b"U", b"--exec-attach").exec_attach


def test_runtime_that_cannot_be_executed(tmp_path: pathlib.Path) -> None:
    """C3: the reason is that of access(2); a directory passes."""
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    cases = [
        (plain, errno.EACCES),
        (tmp_path / "missing", errno.ENOENT),
        (plain / "below", errno.ENOTDIR),
        (tmp_path / ("x" * 300), errno.ENAMETOOLONG),
    ]
    for path, reason in cases:
        name = os.fsencode(path)
        options = cli.parse([b"-c", b"ID", b"-u", b"U", b"-r", name])
        with pytest.raises(diag.Fatal) as caught:
            cli.validate(options)
        why = os.strerror(reason).encode()
        assert caught.value.args == (b"Runtime path %b is not valid %b" % (name, why),)
    cli.validate(cli.parse([b"-c", b"ID", b"-u", b"U", b"-r", os.fsencode(tmp_path)]))


def test_runtime_is_not_searched_in_path() -> None:
    """C2: the runtime is a path."""
    with pytest.raises(diag.Fatal, match="Runtime path sh is not valid No such file"):
        cli.validate(cli.parse([b"-c", b"ID", b"-u", b"U", b"-r", b"sh"]))


def test_bundle_and_pidfile_defaults() -> None:
    """C2: bundle is the working directory, except for exec; so is the pid file's directory."""
    create = validated(*CREATE)
    assert (create.bundle, create.container_pidfile) == (b"/cwd", b"/cwd/pidfile-ID")
    session = validated(*EXEC)
    assert (session.bundle, session.container_pidfile) == (None, b"/cwd/pidfile-ID")
    given = validated(*EXEC, b"-b", b"/b", b"-p", b"/p")
    assert (given.bundle, given.container_pidfile) == (b"/b", b"/p")


def test_working_directory_of_any_encoding(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C20.19: bytes all the way."""
    directory = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(directory)
    monkeypatch.chdir(os.fsdecode(directory))
    options = cli.parse([*CREATE[:4], b"-r", b"/"])
    cli.validate(options)
    assert options.bundle == directory
    assert options.container_pidfile == directory + b"/pidfile-ID"


def test_sandbox() -> None:
    """C2: `auto` unless it is said; nothing else is understood."""
    assert validated(*CREATE).sandbox == b"auto"
    for mode in (b"auto", b"off", b"strict"):
        assert validated(*CREATE, b"--sandbox", mode).sandbox == mode
    for mode in (b"", b"on", b"Strict", b"strict "):
        text = b"sandbox must be auto, off or strict, got " + mode
        assert fatal(*CREATE, b"--sandbox=" + mode) == text


def slow_client_seconds(*args: bytes) -> int:
    return cli.slow_client_seconds(validated(*CREATE, *args))


def test_slow_client_policy() -> None:
    """C20.1: by the caller's API version unless it is said; `block` has no end."""
    assert slow_client_seconds() == 5
    assert slow_client_seconds(b"--api-version") == 0
    given = ((b"block", 0), (b"drop", 5), (b"drop:1", 1), (b"drop:2147483647", 2**31 - 1))
    for policy, seconds in given:
        assert slow_client_seconds(b"--attach-slow-client", policy) == seconds
        assert slow_client_seconds(b"--attach-slow-client", policy, b"--api-version") == seconds


def test_slow_client_policy_that_is_refused() -> None:
    """C20.1: nothing else is understood."""
    for policy in (b"wait", b"", b"drop5", b"block:5", b":5"):
        text = b"attach-slow-client must be block, drop or drop:SECONDS, got " + policy
        assert fatal(*CREATE, b"--attach-slow-client=" + policy) == text
    for seconds in (b"", b"0", b"-1", b"+1", b"1.5", b"5s", b" 5", b"2147483648", b"9" * 5000):
        assert fatal(*CREATE, b"--attach-slow-client=drop:" + seconds) == (
            b"The seconds of attach-slow-client must be an integer from 1 to 2147483647, got "
            + seconds
        )


def test_log_latency() -> None:
    """E4: from none to a second."""
    for ms in (0, 1, 5, 1000):
        assert validated(*CREATE, b"--log-latency", b"%d" % ms).log_latency == ms
    for ms in (-1, 1001):
        text = b"log-latency must be from 0 to 1000 ms, got %d" % ms
        assert fatal(*CREATE, b"--log-latency", b"%d" % ms) == text
