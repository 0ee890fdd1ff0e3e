"""conmon's command line: its parser and the checks of the options.

Arguments are bytes from the kernel to the last consumer: a path or a name in any encoding,
or in none, works in every locale. The syntax is GLib's GOption, which callers rely on: a
value is always the next argument, even one that begins with `-`, and flags ignore `=x`.

This runs before anything else in a life that is measured in milliseconds, in an interpreter
without a standard library: it imports nothing but built-in modules (not even `__future__`,
which is an import like any other), and what only `--help` needs is in `conmon.usage`.
"""

import posix

from conmon import _fastio, diag
from conmon.options import OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Option = tuple[bytes, bytes, str, str]

_LONG = {option[0]: option for option in OPTIONS}
_SHORT = {option[1][0]: option for option in OPTIONS if option[1]}
_HELP = (b"--help", b"--help-all")
_HELP_LETTERS = b"h?"
_BITS = {"int": 31, "int64": 63}
_PREFIXES = {b"0x": 16, b"0b": 2}
_DIGITS = {2: b"01", 8: b"01234567", 10: b"0123456789", 16: b"0123456789abcdefABCDEF"}
# As core/sandbox.pxd numbers them.
SANDBOX = {b"off": 0, b"auto": 1, b"strict": 2}
_PATIENCE = 5  # seconds until `drop` disconnects a client
_LATENCY = 8  # ms that lines may wait to be logged together
_LATENCY_MOST = 1000
_LOG_LEVELS = {
    b"panic": b"error",
    b"fatal": b"error",
    b"error": b"error",
    b"warn": b"warn",
    b"warning": b"warn",
    b"info": b"info",
    b"debug": b"debug",
    b"trace": b"trace",
}


class UsageError(Exception):
    """A command line that is refused before anything was looked at.

    args[0] is the text (bytes) that follows `conmon: ` on stderr; the exit status is 1.
    """


class Options:
    """One attribute per option; strings are bytes, None when not given.

    Times are seconds, but for `log_latency`, ms; sizes are bytes. Sizes and the timeout are off
    at 0 and below.
    After `validate`, `log_level` is one of error, warn, info, debug, trace;
    `cid`, `runtime` and `container_pidfile` are set, and so is `bundle` unless this is an exec
    session.
    """

    __slots__ = (
        "api_version", "attach_slow_client", "bundle", "cid", "conmon_pidfile",
        "container_pidfile", "cuuid", "exec_attach", "exec_mode", "exec_process_spec",
        "exit_command", "exit_command_args", "exit_delay", "exit_dir", "full_attach", "help",
        "leave_stdin_open", "log_allowlist_dirs", "log_global_size_max", "log_labels",
        "log_latency", "log_level", "log_max_files", "log_paths", "log_rotate", "log_size_max",
        "log_tag", "name", "no_container_partial_message", "no_new_keyring", "no_pivot",
        "no_sync_log", "persist_dir", "replace_listen_pid", "restore", "runtime",
        "runtime_args", "runtime_opts", "sandbox", "sdnotify_socket", "socket_dir_path", "stdin",
        "sync", "syslog", "systemd_cgroup", "terminal", "timeout", "version",
    )  # fmt: skip

    def __init__(self) -> None:
        self.api_version: int = 0
        self.attach_slow_client: bytes | None = None
        self.bundle: bytes | None = None
        self.cid: bytes | None = None
        self.conmon_pidfile: bytes | None = None
        self.container_pidfile: bytes | None = None
        self.cuuid: bytes | None = None
        self.exec_attach: bool = False
        self.exec_mode: bool = False
        self.exec_process_spec: bytes | None = None
        self.exit_command: bytes | None = None
        self.exit_command_args: list[bytes] = []
        self.exit_delay: int = 0
        self.exit_dir: bytes | None = None
        self.full_attach: bool = False
        self.help: bool = False
        self.leave_stdin_open: bool = False
        self.log_allowlist_dirs: list[bytes] = []
        self.log_global_size_max: int = -1
        self.log_labels: list[bytes] = []
        self.log_latency: int = _LATENCY
        self.log_level: bytes | None = None
        self.log_max_files: int = 1
        self.log_paths: list[bytes] = []
        self.log_rotate: bool = False
        self.log_size_max: int = -1
        self.log_tag: bytes | None = None
        self.name: bytes | None = None
        self.no_container_partial_message: bool = False
        self.no_new_keyring: bool = False
        self.no_pivot: bool = False
        self.no_sync_log: bool = False
        self.persist_dir: bytes | None = None
        self.replace_listen_pid: bool = False
        self.restore: bytes | None = None
        self.runtime: bytes | None = None
        self.runtime_args: list[bytes] = []
        self.runtime_opts: list[bytes] = []
        self.sandbox: bytes = b"auto"
        self.sdnotify_socket: bytes | None = None
        self.socket_dir_path: bytes = b"/var/run/crio"
        self.stdin: bool = False
        self.sync: bool = False
        self.syslog: bool = False
        self.systemd_cgroup: bool = False
        self.terminal: bool = False
        self.timeout: int = 0
        self.version: bool = False


def parse(args: list[bytes]) -> Options:
    """Read the arguments (without argv[0]) into Options, in order.

    The first fault ends it: UsageError. A request for help ends it too, so that what
    follows is not looked at; a request for the version does not. Positional arguments are
    ignored. Of a repeated option the last value counts, arrays collect all of them.
    """
    options = Options()
    words = iter(args)
    for arg in words:
        if arg[:1] != b"-":
            continue
        if arg == b"--":
            break
        if arg in _HELP:
            options.help = True
            break
        if arg[:2] == b"--":
            _parse_long(options, arg, words)
        elif _parse_cluster(options, arg, words):
            options.help = True
            break
    return options


def _parse_long(options: Options, arg: bytes, words: "Iterator[bytes]") -> None:
    name, equals, value = arg[2:].partition(b"=")
    option = _LONG.get(name)
    if option is None:
        raise _failure(b"Unknown option " + arg)
    if option[2] == "flag":
        setattr(options, option[3], True)
    else:
        _store(options, option, b"--" + name, value if equals else next(words, None))


def _parse_cluster(options: Options, arg: bytes, words: "Iterator[bytes]") -> bool:
    """Read `-abc`; True if it asks for help.

    Every letter is an option: a value is never glued to its letter (`-T5` is -T and an
    unknown -5), but stands in the next argument, whichever letter of the cluster takes it.
    """
    value_taken = False
    for letter in arg[1:]:
        if letter in _HELP_LETTERS:
            return True
        option = _SHORT.get(letter)
        if option is None:
            raise _failure(b"Unknown option " + arg)
        if option[2] == "flag":
            setattr(options, option[3], True)
            continue
        spelled = b"-" + option[1]
        if value_taken:
            raise _failure(b"Error parsing option " + spelled)
        _store(options, option, spelled, next(words, None))
        value_taken = True
    return False


def _store(options: Options, option: "Option", spelled: bytes, value: bytes | None) -> None:
    kind = option[2]
    if value is None:
        raise _failure(b"Missing argument for " + spelled)
    if kind == "string":
        setattr(options, option[3], value)
    elif kind == "array":
        getattr(options, option[3]).append(value)
    else:
        setattr(options, option[3], _integer(value, _BITS[kind], spelled))


def _integer(text: bytes, bits: int, spelled: bytes) -> int:
    """Read the whole text as strtol(3) does with base 0; bits are the value's, sign apart.

    Binary numbers, 0b101, came with ISO C of 2023: glibc has them from 2.38 on.
    """
    digits = text.lstrip(b" \t\n\v\f\r")
    negative = digits[:1] == b"-"
    if digits[:1] in (b"-", b"+"):
        digits = digits[1:]
    base = _PREFIXES.get(digits[:2].lower(), 10)
    if base != 10:
        digits = digits[2:]
    elif digits[:1] == b"0":
        base = 8
    if not digits or digits.translate(None, _DIGITS[base]):
        before, after = quotes()
        raise _failure(b"Cannot parse integer value %b%b%b for %b" % (before, text, after, spelled))
    # int() refuses thousands of digits; 64 bits never need more of them.
    digits = digits.lstrip(b"0") or b"0"
    if len(digits) <= 64:
        value = -int(digits, base) if negative else int(digits, base)
        if -1 << bits <= value < 1 << bits:
            return value
    before, after = quotes()
    raise _failure(b"Integer value %b%b%b for %b out of range" % (before, text, after, spelled))


def _failure(text: bytes) -> UsageError:
    return UsageError(b"option parsing failed: " + text)


def quotes() -> tuple[bytes, bytes]:
    """The opening and closing quotation mark that the locale can show."""
    return (b"\xe2\x80\x9c", b"\xe2\x80\x9d") if locale_is_utf8() else (b"?", b"?")


def locale_is_utf8() -> bool:
    """Whether the locale's charset is UTF-8."""
    return _fastio.locale_is_utf8()


def help_text() -> bytes:
    """What `--help` prints on stdout."""
    from conmon import usage

    return usage.render(b"\xe2\x80\xa6" if locale_is_utf8() else b"...")


def check_early(options: Options) -> None:
    """The checks that come right after --help and --version. Raises UsageError."""
    files = options.log_max_files
    if files < 0:
        raise UsageError(b"log-max-files must be non-negative, got %d" % files)
    if options.log_rotate and files < 1:
        raise UsageError(
            b"log-max-files must be at least 1 when log-rotate is enabled, got %d" % files
        )
    if options.cid is None:
        raise UsageError(b"Container ID not provided. Use --cid")


def validate(
    options: Options,
    getcwd: "Callable[[], bytes]" = posix.getcwdb,
    access: "Callable[[bytes, int], bool]" = posix.access,
) -> None:
    """Check the options up to, not including, the log drivers, and fill in the defaults.

    Needs the cid that `check_early` insists on. Raises diag.Fatal at the first fault.
    """
    level = b"warn" if options.log_level is None else options.log_level
    if level.lower() not in _LOG_LEVELS:
        raise diag.Fatal(b"No such log level " + level)
    options.log_level = _LOG_LEVELS[level.lower()]

    _check_mode(options)
    _check_runtime(options, access)
    if options.exec_mode and options.exec_process_spec is None:
        raise diag.Fatal(b"Exec process spec path not provided. Use --exec-process-spec")
    _fill_paths(options, getcwd)
    if options.exit_delay < 0:
        raise diag.Fatal(b"Delay before invoking exit command must be greater than or equal to 0")
    slow_client_seconds(options)
    if not 0 <= options.log_latency <= _LATENCY_MOST:
        raise diag.Fatal(
            b"log-latency must be from 0 to %d ms, got %d" % (_LATENCY_MOST, options.log_latency)
        )
    if options.sandbox not in SANDBOX:
        raise diag.Fatal(b"sandbox must be auto, off or strict, got " + options.sandbox)


def _check_mode(options: Options) -> None:
    if options.exec_mode and options.restore is not None:
        raise diag.Fatal(b"Cannot use 'exec' and 'restore' at the same time")
    legacy_exec = options.exec_mode and options.api_version < 1
    if options.exec_attach and not options.exec_mode:
        raise diag.Fatal(b"Attach can only be specified with exec")
    if options.exec_attach and legacy_exec:
        raise diag.Fatal(b"Attach can only be specified for a non-legacy exec session")
    if options.cuuid is None and not legacy_exec:
        raise diag.Fatal(b"Container UUID not provided. Use --cuuid")


def _check_runtime(options: Options, access: "Callable[[bytes, int], bool]") -> None:
    """Only that it may be executed: a directory passes, as callers' tests expect."""
    runtime = options.runtime
    if runtime is None:
        raise diag.Fatal(b"Runtime path not provided. Use --runtime")
    if access(runtime, posix.X_OK):
        return
    # access() of Python keeps its errno to itself; stat() fails on the same things, except
    # for the one that is then left: no permission to execute.
    import errno

    reason: OSError = PermissionError(errno.EACCES, "")
    try:
        posix.stat(runtime)
    except OSError as error:
        reason = error
    why = diag.strerror(reason)
    raise diag.Fatal(b"Runtime path %b is not valid %b" % (runtime, why))


def _fill_paths(options: Options, getcwd: "Callable[[], bytes]") -> None:
    try:
        cwd = getcwd()
    except OSError:
        raise diag.Fatal(b"Failed to get working directory") from None
    if options.bundle is None and not options.exec_mode:
        options.bundle = cwd
    if options.container_pidfile is None:
        options.container_pidfile = b"%b/pidfile-%b" % (cwd, options.cid or b"")


def slow_client_seconds(options: Options) -> int:
    """After how long an attach client that takes nothing is dropped; 0: never. diag.Fatal.

    Callers of API 1 attach a user's own terminal or pipe, older ones a view for debugging.
    """
    given = options.attach_slow_client
    if given is None:
        given = b"block" if options.api_version >= 1 else b"drop"
    policy, colon, seconds = given.partition(b":")
    if policy not in (b"block", b"drop") or (colon and policy == b"block"):
        raise diag.Fatal(b"attach-slow-client must be block, drop or drop:SECONDS, got " + given)
    if policy == b"block":
        return 0
    return _patience(seconds) if colon else _PATIENCE


def _patience(text: bytes) -> int:
    """Seconds that a client may take nothing: plain decimal digits, as an int holds them."""
    seconds = int(text) if text.isdigit() and len(text) <= 10 else 0
    if not 1 <= seconds < 1 << 31:
        raise diag.Fatal(
            b"The seconds of attach-slow-client must be an integer from 1 to 2147483647, got "
            + text
        )
    return seconds
