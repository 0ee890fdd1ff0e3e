"""The text of `conmon --help`, apart from the parser so that only --help pays for it."""

from conmon.options import OPTIONS

# Long name, what its value is called (empty for a flag), and what the option is for.
GROUPS: tuple[tuple[bytes, tuple[tuple[bytes, bytes, bytes], ...]], ...] = (
    (
        b"Container",
        (
            (b"cid", b"ID", b"Container id (required)"),
            (b"cuuid", b"UUID", b"Unique id; names the attach directory (required but for exec)"),
            (b"name", b"NAME", b"Container name, for the journal"),
            (b"bundle", b"DIR", b"OCI bundle; default: the working directory"),
            (b"terminal", b"", b"The container has a terminal"),
            (b"stdin", b"", b"Give the container a pipe as its standard input"),
            (b"leave-stdin-open", b"", b"Keep that pipe open when an attached client is done"),
            (b"timeout", b"SECONDS", b"Kill the container after this time; 0: never"),
        ),
    ),
    (
        b"Runtime",
        (
            (b"runtime", b"PATH", b"Runtime to call (required)"),
            (b"runtime-arg", b"ARG", b"Argument before the runtime's subcommand; repeatable"),
            (b"runtime-opt", b"ARG", b"Argument after the subcommand's own; repeatable"),
            (b"systemd-cgroup", b"", b"Let the runtime use its systemd cgroup manager"),
            (b"no-pivot", b"", b"Pass --no-pivot to create and restore"),
            (b"no-new-keyring", b"", b"Pass --no-new-keyring to create and restore"),
            (b"restore", b"DIR", b"Restore from this checkpoint instead of creating"),
            (b"replace-listen-pid", b"", b"Set LISTEN_PID to the runtime's pid, whatever it was"),
        ),
    ),
    (
        b"Exec",
        (
            (b"exec", b"", b"Run a process in an existing container"),
            (b"exec-process-spec", b"FILE", b"OCI process to run (required with --exec)"),
            (b"exec-attach", b"", b"Wait for a client to attach before the process starts"),
        ),
    ),
    (
        b"Log",
        (
            (b"log-path", b"DRIVER[:PATH]", b"k8s-file:PATH (or just PATH), journald, none,"),
            (b"", b"", b"passthrough; repeatable (required)"),
            (b"log-size-max", b"BYTES", b"Start the file anew before it grows past this size"),
            (b"log-global-size-max", b"BYTES", b"Stop logging after this many bytes"),
            (b"log-rotate", b"", b"Keep old log files as PATH.1, PATH.2 instead of dropping them"),
            (b"log-max-files", b"N", b"How many of them to keep; default 1"),
            (b"log-allowlist-dir", b"DIR", b"Directory that may hold rotated logs; repeatable"),
            (b"log-tag", b"TAG", b"CONTAINER_TAG of journal entries"),
            (b"log-label", b"KEY=VALUE", b"Field to add to journal entries; repeatable"),
            (b"no-container-partial-message", b"", b"Leave CONTAINER_PARTIAL_MESSAGE out of them"),
            (b"log-latency", b"MS", b"Log lines that come fast together, within MS ms; default 8,"),
            (b"", b"", b"0: each at once"),
            (b"no-sync-log", b"", b"Do not fsync the log when the container has ended"),
        ),
    ),
    (
        b"Attach",
        (
            (b"socket-dir-path", b"DIR", b"Where clients look; default /var/run/crio"),
            (b"full-attach", b"", b"Have the socket in the bundle only, whatever its path length"),
            (b"attach-slow-client", b"POLICY", b"When a client reads nothing: block the container"),
            (b"", b"", b"or drop the client, with drop:SECONDS after this time"),
            (b"", b"", b"instead of 5 s; default: block from API version 1 on"),
        ),
    ),
    (
        b"Exit",
        (
            (b"exit-dir", b"DIR", b"Write the exit code to DIR/ID"),
            (b"persist-dir", b"DIR", b"Write the exit code to DIR/exit, and note OOM there"),
            (b"exit-command", b"PATH", b"Program to run after the container has ended"),
            (b"exit-command-arg", b"ARG", b"Argument for it; repeatable"),
            (b"exit-delay", b"SECONDS", b"Wait before running it"),
        ),
    ),
    (
        b"Monitor",
        (
            (b"api-version", b"", b"Speak version 1 of the protocol with the caller"),
            (b"conmon-pidfile", b"FILE", b"Write the monitor's pid there"),
            (b"container-pidfile", b"FILE", b"Where the runtime writes the container's pid;"),
            (b"", b"", b"default: pidfile-ID in the working directory"),
            (b"sync", b"", b"Stay in the foreground: do not fork"),
            (b"sandbox", b"MODE", b"What conmon gives up while the container runs: auto (default,"),
            (b"", b"", b"what the kernel allows), strict (all, or no start) or off"),
            (b"sdnotify-socket", b"PATH", b"Relay the container's readiness to this socket"),
            (b"log-level", b"LEVEL", b"error, warn (default), info, debug or trace"),
            (b"syslog", b"", b"Send conmon's own messages to syslog, too"),
            (b"version", b"", b"Show the version and exit"),
        ),
    ),
)

_COLUMN = 38


def render(ellipsis: bytes) -> bytes:
    """The whole help; ellipsis is the one that the locale can show."""
    lines = [
        b"Usage:",
        b"  conmon [OPTION%b] - conmon utility" % ellipsis,
        b"",
        b"Monitors an OCI container: keeps its streams, its log and its exit code.",
        b"",
        b"Help Options:",
        _line(b"  -h, --help", b"Show this help and exit"),
    ]
    letters = {option[0]: option[1] for option in OPTIONS}
    for title, entries in GROUPS:
        lines += [b"", title + b" Options:"]
        for name, value, meaning in entries:
            lines.append(_line(_spelling(name, letters.get(name, b""), value), meaning))
    lines += [
        b"",
        b"A value may also follow as the next argument, and after a short option it must:",
        b"--cid=ID, --cid ID, -c ID. Sizes and the timeout are off at 0 and below.",
        b"",
    ]
    return b"\n".join(lines)


def _spelling(name: bytes, letter: bytes, value: bytes) -> bytes:
    if not name:
        return b""
    short = b"-%b, " % letter if letter else b"    "
    return b"  %b--%b%b" % (short, name, b"=" + value if value else b"")


def _line(spelling: bytes, meaning: bytes) -> bytes:
    return spelling.ljust(_COLUMN - 2) + b"  " + meaning
