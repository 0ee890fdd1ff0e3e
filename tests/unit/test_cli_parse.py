"""The option parser: spellings, values and the texts of its errors (CONTRACT C1, C2)."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

from conmon import cli
from conmon.options import OPTIONS

FAILED = b"option parsing failed: "


@pytest.fixture(autouse=True)
def utf8_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "locale_is_utf8", lambda: True)


def error_of(*args: bytes) -> bytes:
    with pytest.raises(cli.UsageError) as caught:
        cli.parse(list(args))
    text = caught.value.args[0]
    assert isinstance(text, bytes)
    assert text.startswith(FAILED)
    return text[len(FAILED) :]


def test_defaults() -> None:
    """C2: what every option is when it is not given."""
    options = cli.parse([])
    expected: dict[str, object] = {
        "api_version": 0, "exit_delay": 0, "timeout": 0,
        "log_size_max": -1, "log_global_size_max": -1, "log_max_files": 1, "log_latency": 8,
        "socket_dir_path": b"/var/run/crio", "sandbox": b"auto", "help": False,
    }  # fmt: skip
    defaults: dict[str, object] = {"flag": False, "string": None, "array": []}
    for _, _, kind, attribute in OPTIONS:
        expected.setdefault(attribute, defaults.get(kind))
    assert {name: getattr(options, name) for name in cli.Options.__slots__} == expected


def test_arrays_are_not_shared_between_parses() -> None:
    """C1.3: arrays accumulate within one command line only."""
    cli.parse([b"-l", b"none"])
    assert cli.parse([b"-l", b"null"]).log_paths == [b"null"]


@pytest.mark.parametrize(
    "args", [[b"--cid", b"x"], [b"--cid=x"], [b"-c", b"x"], [b"-ic", b"x"], [b"-ci", b"x"]]
)
def test_spellings_of_a_value(args: list[bytes]) -> None:
    """C1.1: the value is the next argument, or follows `=` of a long option."""
    assert cli.parse(args).cid == b"x"


@pytest.mark.parametrize("value", [b"--log-format=json", b"-1", b"--", b"-", b"", b"--help"])
def test_value_is_always_the_next_argument(value: bytes) -> None:
    """C1.1: also when it looks like an option (podman's --runtime-arg --log-format=json)."""
    options = cli.parse([b"--runtime-arg", value, b"-t"])
    assert options.runtime_args == [value]
    assert options.terminal


def test_negative_integer_as_next_argument() -> None:
    """C1.1: `--log-max-files -1` is a value, refused later and elsewhere."""
    assert cli.parse([b"--log-max-files", b"-1"]).log_max_files == -1


def test_value_of_long_option_may_hold_equal_signs_and_be_empty() -> None:
    """C1.1: the value begins after the first `=`."""
    assert cli.parse([b"--log-tag=a=b=c"]).log_tag == b"a=b=c"
    assert cli.parse([b"--log-tag="]).log_tag == b""


def test_values_are_bytes_of_any_encoding() -> None:
    """C1.5, C20.19: a value that is not valid in any charset arrives as it is."""
    assert cli.parse([b"--bundle", b"/b/\xff\xfe"]).bundle == b"/b/\xff\xfe"
    assert cli.parse([b"--bundle=/b/\xff\xfe"]).bundle == b"/b/\xff\xfe"


def test_options_anywhere_positionals_ignored_and_double_dash_ends() -> None:
    """C1.1: positional arguments are skipped, nothing after `--` is an option."""
    options = cli.parse([b"x", b"-t", b"-", b"", b"-i", b"--", b"-s", b"--bogus"])
    assert (options.terminal, options.stdin, options.systemd_cgroup) == (True, True, False)


@pytest.mark.parametrize("value", [b"", b"x", b"0", b"false", b"\xff"])
def test_flags_ignore_a_value(value: bytes) -> None:
    """C1.2: `--sync=0` is --sync."""
    assert cli.parse([b"--sync=" + value]).sync is True
    assert cli.parse([b"--api-version=" + value]).api_version == 1


def test_api_version_is_a_flag() -> None:
    """C1.2: in `--api-version 0` the 0 is a positional argument."""
    assert cli.parse([b"--api-version", b"0", b"-t"]).api_version == 1
    assert cli.parse([b"--api-version", b"0", b"-t"]).terminal


def test_last_scalar_wins_and_arrays_accumulate_in_order() -> None:
    """C1.3."""
    options = cli.parse([b"-n", b"a", b"-l", b"1", b"--name=b", b"--log-path=2", b"-l", b"1"])
    assert options.name == b"b"
    assert options.log_paths == [b"1", b"2", b"1"]


def test_aliases() -> None:
    """C2: --pidfile is --container-pidfile; --restore-arg shares the array of --runtime-opt."""
    options = cli.parse(
        [b"--pidfile=a", b"--runtime-opt=1", b"--restore-arg", b"2", b"--runtime-opt", b"3"]
    )
    assert options.container_pidfile == b"a"
    assert options.runtime_opts == [b"1", b"2", b"3"]


def test_short_names() -> None:
    """C2: the short names, all of them."""
    assert {short: long for long, short, _, _ in OPTIONS if short} == {
        b"b": b"bundle", b"c": b"cid", b"P": b"conmon-pidfile", b"p": b"container-pidfile",
        b"u": b"cuuid", b"e": b"exec", b"l": b"log-path", b"n": b"name", b"0": b"persist-dir",
        b"r": b"runtime", b"i": b"stdin", b"s": b"systemd-cgroup", b"t": b"terminal",
        b"T": b"timeout",
    }  # fmt: skip


def test_every_option_has_an_attribute_and_the_reverse() -> None:
    """C2: no option is parsed into nothing."""
    assert {option[3] for option in OPTIONS} | {"help"} == set(cli.Options.__slots__)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0), (b"-0", 0), (b"5", 5), (b"+5", 5), (b"-5", -5), (b" 5", 5),
        (b"\t\n\v\f\r 5", 5), (b"0x10", 16), (b"0X1f", 31), (b"-0x10", -16), (b"010", 8),
        (b"+0x5", 5), (b"00", 0), (b"0" * 5000 + b"7", 7), (b"2147483647", 2147483647),
        (b"-2147483648", -2147483648), (b"017777777777", 2147483647), (b"0b11", 3), (b"-0B1", -1),
        (b"0b" + b"1" * 31, 2147483647),
    ],
)  # fmt: skip
def test_integers_in_base_0(text: bytes, value: int) -> None:
    """C1.4: strtol with base 0."""
    assert cli.parse([b"--timeout", text]).timeout == value
    assert cli.parse([b"--log-size-max=" + text]).log_size_max == value


@pytest.mark.parametrize(
    "text",
    [
        b"abc", b"", b" ", b"-", b"+", b"+-5", b"- 5", b"5 ", b"5k", b"0x", b"0xg", b"08",
        b"0b", b"0b2", b"0o17", b"1_000", b"1.0", b"\xa05", b"\xff", b"--version",
        b"9" * 5000 + b"x", b"\xef\xbc\x95",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", [b"--timeout", b"--log-size-max", b"-T"])
def test_text_that_is_no_integer(name: bytes, text: bytes) -> None:
    """C1.4: the message quotes the text as it was given."""
    quoted = b"\xe2\x80\x9c" + text + b"\xe2\x80\x9d"
    assert error_of(name, text) == b"Cannot parse integer value " + quoted + b" for " + name


@pytest.mark.parametrize("digits", [b"2147483648", b"-2147483649", b"0x80000000", b"9" * 5000])
def test_32_bit_options_out_of_range(digits: bytes) -> None:
    """C1.4: exit-delay, log-max-files and timeout have 32 bits."""
    for name in (b"--exit-delay", b"--log-max-files", b"--timeout"):
        quoted = b"\xe2\x80\x9c" + digits + b"\xe2\x80\x9d"
        message = b"Integer value " + quoted + b" for " + name + b" out of range"
        assert error_of(name, digits) == message


def test_64_bit_options() -> None:
    """C1.4, C2: the sizes have 64 bits."""
    assert cli.parse([b"--log-size-max=-01000000000000000000000"]).log_size_max == -(2**63)
    for name, attribute in (
        (b"--log-size-max", "log_size_max"),
        (b"--log-global-size-max", "log_global_size_max"),
    ):
        for value in (2**63 - 1, -(2**63)):
            options = cli.parse([name, b"%d" % value])
            assert getattr(options, attribute) == value
        for value in (2**63, -(2**63) - 1):
            assert error_of(name, b"%d" % value).endswith(name + b" out of range")


@pytest.mark.parametrize(
    "arg",
    [
        b"--bogus", b"--no-such=1", b"-Z", b"-Z=1", b"-itZ", b"-Zit", b"-i=x", b"-cabc",
        b"---version", b"--=x", b"-=", b"--ver", b"--VERSION", b"--cid2", b"-\xff", b"--\xff",
        b"--help=x", b"--help-conmon", b"--seccomp-notify-socket",
    ],
)  # fmt: skip
def test_unknown_options_are_shown_as_given(arg: bytes) -> None:
    """C1.4, C1.1: no abbreviations; of a cluster, the whole of it is shown."""
    assert error_of(arg, b"next") == b"Unknown option " + arg


def test_value_glued_to_its_letter_is_not_understood() -> None:
    """C1.1: `-T5` takes the next argument for -T, and -5 is unknown."""
    assert error_of(b"-T5", b"7") == b"Unknown option -T5"
    assert error_of(b"-T5") == b"Missing argument for -T"


@pytest.mark.parametrize(
    ("arg", "shown"),
    [(b"--timeout", b"--timeout"), (b"-c", b"-c"), (b"-ic", b"-c"), (b"-cb", b"-c")],
)
def test_missing_argument(arg: bytes, shown: bytes) -> None:
    """C1.4."""
    assert error_of(b"-t", arg) == b"Missing argument for " + shown


def test_two_values_in_one_cluster() -> None:
    """C1.1: a cluster has one value; the message of GOption."""
    assert error_of(b"-bT", b"5", b"6") == b"Error parsing option -T"


def test_first_fault_is_reported() -> None:
    """C1.4: in the order of the command line."""
    assert error_of(b"--timeout=x", b"--bogus").startswith(b"Cannot parse integer")
    assert error_of(b"--bogus", b"--timeout=x") == b"Unknown option --bogus"
    assert error_of(b"-TZ", b"x").startswith(b"Cannot parse integer")


def test_version_does_not_end_parsing() -> None:
    """C1.6: `--version --bogus` fails."""
    assert cli.parse([b"--version", b"-t"]).terminal
    assert error_of(b"--version", b"--bogus") == b"Unknown option --bogus"


@pytest.mark.parametrize("arg", [b"-h", b"--help", b"--help-all", b"-ih", b"-hZ", b"-?"])
def test_help_ends_parsing(arg: bytes) -> None:
    """C1.6: what follows a request for help is not looked at, what precedes it is."""
    assert cli.parse([b"-t", arg, b"--bogus"]).help
    assert error_of(b"--bogus", arg) == b"Unknown option --bogus"


def test_help_after_double_dash_is_positional() -> None:
    """C1.1."""
    assert not cli.parse([b"--", b"--help"]).help


def test_quotes_in_another_charset(monkeypatch: pytest.MonkeyPatch) -> None:
    """C1.4: question marks where the locale has no such quotes."""
    monkeypatch.setattr(cli, "locale_is_utf8", lambda: False)
    assert error_of(b"-T", b"abc") == b"Cannot parse integer value ?abc? for -T"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"LANG": "C"}, False),
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "C.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8", "LC_ALL": ""}, True),
        ({"LC_ALL": "xx_YY.UTF-8"}, False),
    ],
)
def test_charset_of_the_locale(environment: dict[str, str], expected: bool) -> None:
    """C1.4: the locale that is in force decides, not one that is not installed."""
    run = subprocess.run(
        [sys.executable, "-PS", "-c", "from conmon import cli; print(cli.locale_is_utf8())"],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONCOERCECLOCALE": "0", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout == f"{expected}\n"


def test_command_line_of_podman() -> None:
    """D1: the arguments that podman gives for a create, every one understood."""
    options = cli.parse(
        b"--api-version 1 -c CID -u CUUID -r /usr/bin/crun -b /b -p /b/pidfile -n name "
        b"--exit-dir /e --persist-dir /p --full-attach --runtime-arg --x -s -l k8s-file:/l "
        b"--log-level error --syslog --log-size-max 10 --runtime-arg --log-format=json "
        b"--runtime-arg --log --runtime-arg=/oci-log --log-tag tag -i --timeout=5 "
        b"--conmon-pidfile /c --exit-command /usr/bin/podman --exit-command-arg --root "
        b"--exit-command-arg /r --runtime-opt --preserve-fds --runtime-opt 2".split()
    )
    got = {name: getattr(options, name) for name in cli.Options.__slots__}
    plain = cli.Options()
    changed = {name: got[name] for name in got if got[name] != getattr(plain, name)}
    assert changed == {
        "api_version": 1, "cid": b"CID", "cuuid": b"CUUID", "runtime": b"/usr/bin/crun",
        "bundle": b"/b", "container_pidfile": b"/b/pidfile", "name": b"name",
        "exit_dir": b"/e", "persist_dir": b"/p", "full_attach": True,
        "runtime_args": [b"--x", b"--log-format=json", b"--log", b"/oci-log"],
        "systemd_cgroup": True, "log_paths": [b"k8s-file:/l"], "log_level": b"error",
        "syslog": True, "log_size_max": 10, "log_tag": b"tag", "stdin": True, "timeout": 5,
        "conmon_pidfile": b"/c", "exit_command": b"/usr/bin/podman",
        "exit_command_args": [b"--root", b"/r"], "runtime_opts": [b"--preserve-fds", b"2"],
    }  # fmt: skip


@pytest.mark.parametrize("module", ["cli", "options", "usage", "logdrivers"])
def test_imports_only_what_a_bare_interpreter_has(module: str) -> None:
    """The launch life's interpreter has no standard library: built-in modules only."""
    source = pathlib.Path(cli.__file__).with_name(module + ".py").read_text()
    imported = set()
    for node in _outside_type_checking(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or ".")
    assert imported <= {"posix", "sys", "errno", "conmon", "conmon.options"}


def _outside_type_checking(tree: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        test = node.test if isinstance(node, ast.If) else None
        if not (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"):
            found += [node, *_outside_type_checking(node)]
    return found
