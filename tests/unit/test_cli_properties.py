"""The option parser against a plain model: what was meant is what is parsed (CONTRACT C1).

A case is a list of (option, value) as somebody means it. The model says what Options must
hold by walking that list; the strategy writes the list down in one of the many spellings
that C1.1 allows, with positional arguments strewn in.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conmon import cli

# Written down here on its own, not taken from the parser: name, short name, attribute.
FLAGS = [
    ("api-version", "", "api_version"), ("exec", "e", "exec_mode"),
    ("exec-attach", "", "exec_attach"), ("full-attach", "", "full_attach"),
    ("leave-stdin-open", "", "leave_stdin_open"), ("log-rotate", "", "log_rotate"),
    ("no-container-partial-message", "", "no_container_partial_message"),
    ("no-new-keyring", "", "no_new_keyring"), ("no-pivot", "", "no_pivot"),
    ("no-sync-log", "", "no_sync_log"), ("replace-listen-pid", "", "replace_listen_pid"),
    ("stdin", "i", "stdin"), ("sync", "", "sync"), ("syslog", "", "syslog"),
    ("systemd-cgroup", "s", "systemd_cgroup"), ("terminal", "t", "terminal"),
    ("version", "", "version"),
]  # fmt: skip
STRINGS = [
    ("attach-slow-client", "", "attach_slow_client"), ("bundle", "b", "bundle"),
    ("cid", "c", "cid"), ("conmon-pidfile", "P", "conmon_pidfile"),
    ("container-pidfile", "p", "container_pidfile"), ("pidfile", "", "container_pidfile"),
    ("cuuid", "u", "cuuid"), ("exec-process-spec", "", "exec_process_spec"),
    ("exit-command", "", "exit_command"), ("exit-dir", "", "exit_dir"),
    ("log-level", "", "log_level"), ("log-tag", "", "log_tag"), ("name", "n", "name"),
    ("persist-dir", "0", "persist_dir"), ("restore", "", "restore"),
    ("runtime", "r", "runtime"), ("sandbox", "", "sandbox"),
    ("sdnotify-socket", "", "sdnotify_socket"), ("socket-dir-path", "", "socket_dir_path"),
]  # fmt: skip
ARRAYS = [
    ("exit-command-arg", "", "exit_command_args"),
    ("log-allowlist-dir", "", "log_allowlist_dirs"), ("log-label", "", "log_labels"),
    ("log-path", "l", "log_paths"), ("restore-arg", "", "runtime_opts"),
    ("runtime-arg", "", "runtime_args"), ("runtime-opt", "", "runtime_opts"),
]  # fmt: skip
INTEGERS = [
    ("exit-delay", "", "exit_delay"), ("log-latency", "", "log_latency"),
    ("log-max-files", "", "log_max_files"), ("timeout", "T", "timeout"),
]  # fmt: skip
LARGE_INTEGERS = [
    ("log-size-max", "", "log_size_max"), ("log-global-size-max", "", "log_global_size_max"),
]  # fmt: skip

ANY_BYTES = st.one_of(
    st.sampled_from([b"", b"-", b"--", b"-t", b"--help", b"--cid", b"=", b"a=b"]),
    st.binary(max_size=12).map(lambda value: value.replace(b"\0", b"?")),
)


@dataclass
class Case:
    """Arguments, the attributes that they must give, and whether a `--` ended the options."""

    args: list[bytes] = field(default_factory=list)
    expected: dict[str, object] = field(default_factory=dict)
    ended: bool = False

    def mean(self, attribute: str, value: object, array: bool) -> None:
        if array:
            so_far = self.expected.get(attribute, [])
            assert isinstance(so_far, list)
            value = [*so_far, value]
        self.expected[attribute] = value


@st.composite
def spelled_integer(draw: st.DrawFn, bits: int) -> tuple[int, bytes]:
    value = draw(st.integers(-(2**bits), 2**bits - 1))
    sign = "-" if value < 0 else draw(st.sampled_from(["", "+"]))
    digits = draw(st.sampled_from(["{}", "0x{:x}", "0X{:X}", "0{:o}", "000{:o}"]))
    space = draw(st.sampled_from(["", " ", "\t\n "]))
    return value, (space + sign + digits.format(abs(value))).encode()


@st.composite
def valued_option(draw: st.DrawFn) -> tuple[str, str, str, object, bytes, bool]:
    """One option that takes a value: name, short name, attribute, value, its text, array."""
    names = draw(st.sampled_from([*STRINGS, *ARRAYS, *INTEGERS, *LARGE_INTEGERS]))
    if names in INTEGERS or names in LARGE_INTEGERS:
        value, text = draw(spelled_integer(31 if names in INTEGERS else 63))
        return (*names, value, text, False)
    text = draw(ANY_BYTES)
    return (*names, text, text, names in ARRAYS)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    case = Case()
    for kind in draw(st.lists(st.sampled_from(["flag", "value", "cluster", "positional"]))):
        if kind == "positional":
            word = draw(ANY_BYTES)
            case.args.append(b"-" if word.startswith(b"-") else word)
        elif kind == "flag":
            name, _, attribute = draw(st.sampled_from(FLAGS))
            ignored = draw(st.none() | ANY_BYTES)
            case.args.append(b"--" + name.encode() + (b"" if ignored is None else b"=" + ignored))
            case.mean(attribute, True, False)
        elif kind == "value":
            name, _, attribute, value, text, array = draw(valued_option())
            long = b"--" + name.encode()
            case.args += draw(st.sampled_from([[long + b"=" + text], [long, text]]))
            case.mean(attribute, value, array)
        else:
            draw_cluster(draw, case)
    if draw(st.booleans()):
        case.args += [b"--", *draw(st.lists(ANY_BYTES, max_size=3))]
        case.ended = True
    return case


def draw_cluster(draw: st.DrawFn, case: Case) -> None:
    """Short flags and at most one short option with a value, anywhere among them."""
    letters = []
    for _, short, attribute in draw(st.lists(st.sampled_from(FLAGS), max_size=4)):
        if short:
            letters.append(short)
            case.mean(attribute, True, False)
    _, short, attribute, value, text, array = draw(valued_option())
    if short and draw(st.booleans()):
        letters.insert(draw(st.integers(0, len(letters))), short)
        case.mean(attribute, value, array)
        case.args += [b"-" + "".join(letters).encode(), text]
    elif letters:
        case.args.append(b"-" + "".join(letters).encode())


def attributes(options: cli.Options) -> dict[str, object]:
    return {name: getattr(options, name) for name in cli.Options.__slots__}


@given(cases())
def test_every_spelling_means_the_same(case: Case) -> None:
    """C1.1-C1.4: whichever way it is written down."""
    assert attributes(cli.parse(case.args)) == {**attributes(cli.Options()), **case.expected}


@given(cases(), st.sampled_from([b"--help", b"--help-all", b"-h", b"-th"]), st.lists(ANY_BYTES))
def test_help_is_found_unless_the_options_have_ended(
    case: Case, spelling: bytes, rest: list[bytes]
) -> None:
    """C1.6, C1.1: after any complete options, and before anything at all."""
    assert cli.parse([*case.args, spelling, *rest]).help is not case.ended


@given(cases(), st.sampled_from([b"--bogus", b"--bogus=1", b"-Z", b"-iZ", b"---"]))
def test_an_unknown_option_is_an_error_wherever_it_stands(case: Case, unknown: bytes) -> None:
    """C1.4, C1.6: no option before it makes up for it; after `--` it is none."""
    if case.ended:
        cli.parse([*case.args, unknown])
        return
    with pytest.raises(cli.UsageError) as caught:
        cli.parse([*case.args, unknown])
    assert caught.value.args == (b"option parsing failed: Unknown option " + unknown,)


@given(st.lists(ANY_BYTES | st.text("-=bcitTZ05", max_size=6).map(str.encode)))
def test_any_arguments_are_parsed_or_refused_in_words(args: list[bytes]) -> None:
    """C1.4: no argument makes the parser fail in any other way."""
    text = b"option parsing failed: "
    try:
        cli.parse(args)
    except cli.UsageError as error:
        text = error.args[0]
    assert text.startswith(b"option parsing failed: ")
