"""The differences between Debian's C conmons, 2.1.6 and on, and ours that are allowed: all of them.

Each has its reason: a fault of C conmon that is cured (C20 and the row), something that a newer one
does as we do, or a choice. docs/differences.md is made from this list.
"""

from __future__ import annotations

from differential.compare import Difference, Kind

NEWER = (2, 1, 12)  # Debian 13's
NEWEST = (2, 1, 13)  # Debian testing's, as of November 2026


def lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


ALLOWED: list[Difference] = [
    # --- cures ------------------------------------------------------------------------------
    *(
        Difference(
            Kind.CURE,
            "Why a command line is refused is told on the sync pipe, too",
            "C4.5: after the start byte was taken. C conmon ends before, and the caller, which may "
            "still have to write the byte, sees a broken pipe and no reason.",
            (scenario,),
            (f'sync pipe | ours | {{"data": -1, "message": "{text}"}}',),
        )
        for scenario, text in (
            ("unknown option", "option parsing failed: Unknown option --bogus"),
            ("two faults", "option parsing failed: Unknown option --bogus"),
            ("unknown letter", "option parsing failed: Unknown option -Z"),
            ("missing value", "option parsing failed: Missing argument for --timeout"),
            (
                "no integer",
                "option parsing failed: Cannot parse integer value ?abc? for --log-size-max",
            ),
            (
                "integer out of range",
                "option parsing failed: Integer value ?2147483648? for --timeout out of range",
            ),
            ("no container id", "Container ID not provided. Use --cid"),
            ("no uuid", "Container UUID not provided. Use --cuuid"),
            ("no runtime", "Runtime path not provided. Use --runtime"),
            (
                "runtime not there",
                r"Runtime path \/no\/such\/runtime is not valid No such file or directory",
            ),
            ("log level", "No such log level foo"),
            ("exec and restore", "Cannot use 'exec' and 'restore' at the same time"),
            ("attach without exec", "Attach can only be specified with exec"),
            (
                "exec without a process",
                "Exec process spec path not provided. Use --exec-process-spec",
            ),
            (
                "negative exit delay",
                "Delay before invoking exit command must be greater than or equal to 0",
            ),
            ("no log path", "Log driver not provided. Use --log-path"),
            ("unknown log driver", "No such log driver syslog"),
            ("log driver without a file", "k8s-file requires a filename"),
            ("log directory missing", "Failed to open log file No such file or directory"),
            ("log is a directory", "Failed to open log file Is a directory"),
            ("log tag with a file", "k8s-file doesn't support --log-tag"),
            ("journald and a short id", "Container ID must be longer than 12 characters"),
            (
                "conmon pidfile unwritable",
                (
                    r"Failed to write conmon pidfile: ROOT\/missing\/conmon.pid: "
                    "No such file or directory"
                ),
            ),
        )
    ),
    Difference(
        Kind.CURE,
        "A sync pipe that is none is refused by the process that was started",
        "C4.10: its status tells. C conmon finds it in the background, where nobody hears of it.",
        ("sync pipe garbage",),
        lines("""
            events of pid files | C | CREATE run/conmon.pid.XXXXXX
            events of pid files | C | MOVED_FROM run/conmon.pid.XXXXXX
            events of pid files | C | MOVED_TO run/conmon.pid
            exit status | C | started process 0
            exit status | C | monitor 1
            exit status | ours | started process 1
            files at the end | C | run/conmon.pid file 0644 'MONITOR'
        """),
    ),
    Difference(
        Kind.CURE,
        "The attach socket is removed when conmon ends with an error",
        "C20.17: C conmon leaves it behind.",
        (
            *("runtime fails", "runtime fails without a word", "runtime killed"),
            *("runtime fails with odd bytes", "runtime fails for CRI-O"),
            *("runtime fails with --sync", "runtime fails with an exit command"),
            *("runtime fails at length", "no pid file", "no pid file but words"),
            *("runtime is a directory", "exec fails", "exec fails under API 0"),
            *("exec fails with a client", "terminal none and runtime fails"),
            *("terminal one and runtime fails", "persist directory missing"),
            *("exit directory missing", "exit directory missing with exit command", "hangup"),
        ),
        lines("""
            events | ours | DELETE bundle/attach
            files at the end | C | bundle/attach socket 0700
        """),
    ),
    Difference(
        Kind.CURE,
        "The console socket is removed when the runtime fails before it has used it",
        "C20.17: C conmon leaves it in the directory for temporary files.",
        ("terminal none and runtime fails",),
        lines("files at the end | C | tmp/conmon-term.XXXXXX socket 0700"),
    ),
    Difference(
        Kind.CURE,
        "The link in the directory for sockets is removed at the end",
        "C20.17: 2.1.6 always leaves it, 2.2.1 when conmon ends with an error.",
        ("as crio", "steps for crio", "runtime fails for CRI-O"),
        lines("files at the end | C | sockets/UUID link to ROOT/bundle"),
        before=NEWER,
    ),
    Difference(
        Kind.CURE,
        "The link in the directory for sockets is removed at the end",
        "C20.17: 2.1.6 always leaves it, 2.2.1 when conmon ends with an error.",
        ("steps for crio",),
        lines("steps | ours | remove ROOT/sockets/UUID"),
        before=NEWER,
    ),
    Difference(
        Kind.CURE,
        "So is a link whose path has 107 bytes",
        "C20.17: C conmon makes it with a shorter name than it removes.",
        ("socket path of 107 bytes",),
        lines("files at the end | C | sockets/UUID-CUT link to ROOT/bundle"),
    ),
    Difference(
        Kind.CURE,
        "The attach socket is removed at the end by its own name",
        "C20.17: C conmon removes it through the link.",
        ("steps for crio",),
        lines("""
            steps | C | remove ROOT/sockets/UUID/attach
            steps | ours | remove ROOT/bundle/attach
        """),
    ),
    Difference(
        Kind.CURE,
        "SIGHUP does not end the monitor",
        "C20.17: C conmon dies of it without an exit file, and the container goes on alone.",
        ("hangup",),
        lines("""
            events | ours | CREATE bundle/conmon-counters
            events | ours | DELETE bundle/conmon-counters
            events | ours | CREATE persist/exit.XXXXXX
            events | ours | MOVED_FROM persist/exit.XXXXXX
            events | ours | MOVED_TO persist/exit
            events | ours | CREATE exits/0123456789abcdef.XXXXXX
            events | ours | MOVED_FROM exits/0123456789abcdef.XXXXXX
            events | ours | MOVED_TO exits/0123456789abcdef
            exit status | ours | monitor 9
            files at the end | ours | exits/0123456789abcdef file 0644 '9'
            files at the end | ours | persist/exit file 0644 '9'
            processes that stay | C | /bin/sh
            sync pipe | ours | end of file
        """),
    ),
    Difference(
        Kind.CURE,
        "The runtime, and so the container, does not start with SIGPIPE ignored",
        "C20.18: C conmon's own setting is inherited.",
        ("as podman", "as crio", "runtime plain", "exec", "exec for CRI-O"),
        lines("""
            runtime state | C | SigIgn ['SIGPIPE']
            runtime state | ours | SigIgn []
        """),
        elsewhere=True,
    ),
    Difference(
        Kind.CURE,
        "The exit command does not start with SIGPIPE ignored",
        "C20.18: C conmon's own setting is inherited.",
        ("as podman", "exit delay", "exec"),
        lines("""
            exit command state | C | SigIgn ['SIGPIPE']
            exit command state | ours | SigIgn []
        """),
        elsewhere=True,
    ),
    Difference(
        Kind.CURE,
        "A pid file without a pid means that nothing was started",
        "C20.7: C conmon takes any text for pid 0, reports a start, and writes exit files.",
        ("garbage in the pid file",),
        lines("""
            events | C | CREATE persist/exit.XXXXXX
            events | C | MOVED_FROM persist/exit.XXXXXX
            events | C | MOVED_TO persist/exit
            events | C | CREATE exits/0123456789abcdef.XXXXXX
            events | C | MOVED_FROM exits/0123456789abcdef.XXXXXX
            events | C | MOVED_TO exits/0123456789abcdef
            exit status | C | monitor 255
            exit status | ours | monitor 1
            files at the end | C | exits/0123456789abcdef file 0644 '-1'
            files at the end | C | persist/exit file 0644 '-1'
            sync pipe | C | {"data": 0}
            sync pipe | ours | {"data": -1, "message": "Failed to read pidfile: \
no pid in ROOT\\/run\\/pidfile: 'garbage'"}
        """),
    ),
    Difference(
        Kind.CURE,
        "A report never has more than 4096 bytes",
        "C20.8: podman reads no more of it.",
        ("runtime fails at length",),
        lines("""
            sync pipe | C | {"data": -1, "message": "x{6000}"}
            sync pipe | ours | {"data": -1, "message": "x{4068}"}
        """),
    ),
    Difference(
        Kind.CURE,
        "Where conmon's pid file cannot be written nothing is started",
        "C20.20: C conmon says so, and a monitor with its container goes on that nobody knows. "
        "The text names the file once.",
        ("conmon pidfile unwritable",),
        lines("""
            events | C | CREATE bundle/attach
            events | C | CREATE bundle/ctl
            events | C | CREATE bundle/winsz
            events of pid files | C | CREATE run/pidfile
            files at the end | C | bundle/attach socket 0700
            files at the end | C | bundle/ctl fifo 0640
            files at the end | C | bundle/winsz fifo 0640
            files at the end | C | run/pidfile file 0644 'PID'
            processes that stay | C | CONMON
            processes that stay | C | sleep
            stderr | C | [conmon:e]: Failed to write conmon pidfile: Failed to create file \
“ROOT/missing/conmon.pid.XXXXXX”: No such file or directory No such file or directory
            stderr | ours | [conmon:e]: Failed to write conmon pidfile: \
ROOT/missing/conmon.pid: No such file or directory
            sync pipe | C | {"data": PID}
            sync pipe | ours | end of file
        """),
    ),
    Difference(
        Kind.CURE,
        "The path of a log may have a colon in it",
        "C20.19: C conmon cuts it there.",
        ("log path with a colon",),
        lines(r"""
            events | C | CREATE logs/a
            events | ours | CREATE logs/a:b.log
            files at the end | ours | logs/a:b.log file 0640
            log | C | a: TIME stdout b'out\n'
            log | C | a: TIME stderr b'err\n'
            log | ours | a:b.log: TIME stdout b'out\n'
            log | ours | a:b.log: TIME stderr b'err\n'
        """),
    ),
    Difference(
        Kind.CURE,
        "The path of a log may have a colon in it",
        "C20.19: C conmon cuts it there.",
        ("log path with a colon",),
        lines("files at the end | C | logs/a file 0600"),
        before=NEWEST,
    ),
    Difference(
        Kind.CURE,
        "The path of a log may have a colon in it",
        "C20.19: C conmon cuts it there.",
        ("log path with a colon",),
        lines("files at the end | C | logs/a file 0640"),
        since=NEWEST,
    ),
    Difference(
        Kind.CURE,
        "A request to reopen the log keeps what is in it",
        "C11.5: C conmon puts an empty file in the place of the log.",
        ("reopen in place",),
        lines(r"""
            events | C | CREATE logs/ctr.log.tmp
            events | C | MOVED_FROM logs/ctr.log.tmp
            events | C | MOVED_TO logs/ctr.log
            log | ours | ctr.log: TIME stdout b'one\n'
        """),
    ),
    Difference(
        Kind.CURE,
        "The caller is told of what keeps the container from being created",
        "C20: C conmon ends without a report, its stderr is closed by then: the caller sees "
        "end of file and no reason.",
        ("bundle missing",),
        lines("""
            sync pipe | ours | {"data": -1, "message": "failed to open socket path parent dir \
ROOT\\/missing: No such file or directory"}
        """),
    ),
    Difference(
        Kind.CURE,
        "The caller is told of what keeps the container from being created",
        "C20: C conmon ends without a report, its stderr is closed by then: the caller sees "
        "end of file and no reason.",
        ("socket directory missing",),
        lines("""
            sync pipe | ours | {"pid": -1, "message": "Failed to create symlink for notify socket \
ROOT\\/missing\\/UUID: No such file or directory"}
        """),
    ),
    Difference(
        Kind.CURE,
        "Nobody waits for the log's way to the disk",
        "C20.23: C conmon writes the exit files after its fsync(2); here a child does that "
        "meanwhile.",
        ("steps",),
        lines("steps | C | fsync"),
    ),
    # --- an older peer ----------------------------------------------------------------------
    Difference(
        Kind.OLDER,
        "Logs have mode 0640",
        "2.2.1 makes them so, too.",
        ("as podman", "as crio"),
        lines("""
            files at the end | C | logs/ctr.log file 0600
            files at the end | ours | logs/ctr.log file 0640
            files while it runs | C | logs/ctr.log file 0600
            files while it runs | ours | logs/ctr.log file 0640
        """),
        elsewhere=True,
        before=NEWEST,
    ),
    *(
        Difference(
            Kind.OLDER,
            "Logs have mode 0640",
            "2.2.1 makes them so, too.",
            (scenario,),
            (
                f"files at the end | C | logs/{name} file 0600",
                f"files at the end | ours | logs/{name} file 0640",
            ),
            before=NEWEST,
        )
        for scenario, name in (
            ("log path relative", "here.log"),
            ("two log files", "b.log"),
            ("reopen a moved log", "moved.log"),
        )
    ),
    Difference(
        Kind.OLDER,
        "The caller's umask is not inherited: conmon works with 022",
        "2.2.1 sets it, too.",
        ("umask",),
        lines("""
            files at the end | C | bundle/ctl fifo 0600
            files at the end | ours | bundle/ctl fifo 0640
            files at the end | C | bundle/winsz fifo 0600
            files at the end | ours | bundle/winsz fifo 0640
            files at the end | C | exits/0123456789abcdef file 0600 '0'
            files at the end | ours | exits/0123456789abcdef file 0644 '0'
            files at the end | C | persist/exit file 0600 '0'
            files at the end | ours | persist/exit file 0644 '0'
            files at the end | C | run/conmon.pid file 0600 'MONITOR'
            files at the end | ours | run/conmon.pid file 0644 'MONITOR'
            files at the end | C | run/pidfile file 0600 'PID'
            files at the end | ours | run/pidfile file 0644 'PID'
            runtime state | C | umask 0077
            runtime state | ours | umask 0022
        """),
        before=NEWER,
    ),
    Difference(
        Kind.OLDER,
        "A runtime that fails without a word is reported, too",
        "2.2.1 reports it, too; with 2.1.6 the caller sees end of file.",
        ("runtime fails without a word", "passthrough fails"),
        lines('sync pipe | ours | {"data": -1}'),
    ),
    Difference(
        Kind.OLDER,
        "A pid file that is not there is reported, with the runtime's words if it has any",
        "2.2.1 reports it, too; with 2.1.6 the caller sees end of file.",
        ("no pid file",),
        lines("""
            sync pipe | ours | {"data": -1, "message": "Failed to read pidfile: \
ROOT\\/run\\/pidfile: No such file or directory"}
        """),
    ),
    Difference(
        Kind.OLDER,
        "A pid file that is not there is reported, with the runtime's words if it has any",
        "2.2.1 reports it, too; with 2.1.6 the caller sees end of file.",
        ("no pid file but words",),
        lines(r'sync pipe | ours | {"data": -1, "message": "boom\n"}'),
    ),
    Difference(
        Kind.OLDER,
        "A runtime that cannot be executed is reported, with the reason",
        "2.2.1 reports the failure, too, without the reason.",
        ("runtime is a directory",),
        lines(
            r'sync pipe | ours | {"data": -1, "message": "Failed to execute the runtime '
            r'ROOT\/runtime: Permission denied\n"}'
        ),
    ),
    Difference(
        Kind.OLDER,
        "The status of an exit command that fails is conmon's",
        "2.2.1 returns it, too. The exit files have the container's.",
        ("exit command fails",),
        lines("""
            exit status | C | monitor 21
            exit status | ours | monitor 5
        """),
    ),
    Difference(
        Kind.OLDER,
        "The status of an exit command that fails is conmon's",
        "2.2.1 returns it, too. The exit files have the container's.",
        ("exit command missing",),
        lines("""
            exit status | C | monitor 21
            exit status | ours | monitor 127
        """),
    ),
    *(
        Difference(
            Kind.OLDER,
            "What is wrong with the options is said on stderr",
            "2.2.1 does so, too; 2.1.6 says it on stdout.",
            (scenario,),
            (
                f"stdout | C | conmon: option parsing failed: {text}",
                f"stderr | ours | conmon: option parsing failed: {text}",
            ),
            before=NEWER,
        )
        for scenario, text in (
            ("unknown option", "Unknown option --bogus"),
            ("two faults", "Unknown option --bogus"),
            ("unknown letter", "Unknown option -Z"),
            ("missing value", "Missing argument for --timeout"),
            ("no integer", "Cannot parse integer value ?abc? for --log-size-max"),
            ("integer out of range", "Integer value ?2147483648? for --timeout out of range"),
        )
    ),
    Difference(
        Kind.OLDER,
        "What is wrong with the options is said on stderr",
        "2.2.1 does so, too; 2.1.6 says it on stdout.",
        ("version and a fault",),
        lines("""
            stdout | C | conmon: option
            stderr | ours | conmon: option parsing failed: Unknown option --bogus
        """),
        before=NEWER,
    ),
    *(
        Difference(
            Kind.OLDER,
            "A message begins with `[conmon:e]: `, whatever it says",
            "2.2.1 writes it so, too; 2.1.6 leaves the colon out of texts without parameters.",
            (scenario,),
            (f"stderr | C | [conmon:e] {text}", f"stderr | ours | [conmon:e]: {text}"),
        )
        for scenario, text in (
            ("no uuid", "Container UUID not provided. Use --cuuid"),
            ("no runtime", "Runtime path not provided. Use --runtime"),
            ("exec and restore", "Cannot use 'exec' and 'restore' at the same time"),
            ("attach without exec", "Attach can only be specified with exec"),
            (
                "exec without a process",
                "Exec process spec path not provided. Use --exec-process-spec",
            ),
            (
                "negative exit delay",
                "Delay before invoking exit command must be greater than or equal to 0",
            ),
            ("no log path", "Log driver not provided. Use --log-path"),
            ("log tag with a file", "k8s-file doesn't support --log-tag"),
            ("journald and a short id", "Container ID must be longer than 12 characters"),
        )
    ),
    Difference(
        Kind.OLDER,
        "The options of 2.2.1, and three of our own",
        "2.2.1 has those for rotation and labels, and no longer those for seccomp. "
        "--attach-slow-client, --log-latency and --sandbox are ours.",
        ("help",),
        lines("""
            options in the help | ours | --attach-slow-client
            options in the help | ours | --log-allowlist-dir
            options in the help | ours | --log-label
            options in the help | ours | --log-latency
            options in the help | ours | --log-max-files
            options in the help | ours | --log-rotate
            options in the help | ours | --no-container-partial-message
            options in the help | ours | --sandbox
            options in the help | C | --seccomp-notify-plugins
            options in the help | C | --seccomp-notify-socket
        """),
    ),
    Difference(
        Kind.OLDER,
        "The log's size at the start counts for --log-size-max",
        "2.2.1 counts it, too.",
        ("size limit and an old log",),
        lines(r"""
            events | ours | CREATE logs/ctr.log.tmp
            events | ours | MOVED_FROM logs/ctr.log.tmp
            events | ours | MOVED_TO logs/ctr.log
            log | C | ctr.log: TIME stdout b'line8\n'
        """),
        before=NEWER,
    ),
    Difference(
        Kind.OLDER,
        "The log's size at the start counts for --log-global-size-max",
        "2.2.1 counts it, too.",
        ("global limit and an old log",),
        lines(r"log | C | ctr.log: TIME stdout b'line2\n'"),
        before=NEWER,
    ),
    Difference(
        Kind.OLDER,
        "Other notifications than READY=1 are relayed, too",
        "2.2.1 relays them, too.",
        ("notify status",),
        lines("""
            service manager | ours | STATUS=half
            service manager | ours | ERRNO=2
        """),
        before=NEWER,
    ),
    Difference(
        Kind.OLDER,
        "A message does not end with the reason `Success`",
        "An error that is not the kernel's has no reason of the kernel's.",
        ("sync pipe garbage",),
        lines("""
            stderr | C | [conmon:e]: unable to parse _OCI_SYNCPIPE Success
            stderr | ours | [conmon:e]: unable to parse _OCI_SYNCPIPE
        """),
    ),
    # --- choices ----------------------------------------------------------------------------
    *(
        Difference(
            Kind.CHOICE,
            "Quotation marks that the locale cannot show are question marks",
            "As with 2.1.6 and 2.1.12. 2.1.13 writes UTF-8 in every locale.",
            (scenario,),
            (
                f"stderr | C | conmon: option parsing failed: {text.format(*'“”')}",
                f"stderr | ours | conmon: option parsing failed: {text.format(*'??')}",
            ),
            since=NEWEST,
        )
        for scenario, text in (
            ("no integer", "Cannot parse integer value {}abc{} for --log-size-max"),
            ("integer out of range", "Integer value {}2147483648{} for --timeout out of range"),
        )
    ),
    Difference(
        Kind.CHOICE,
        "conmon's pid file is written by the process that stays",
        "It is there before the process that was started ends, as with C conmon; that one has "
        "left its memory to its child by then.",
        ("steps", "steps for crio"),
        lines("""
            steps | ours | rename to ROOT/run/conmon.pid
            steps of the started process | C | rename to ROOT/run/conmon.pid
        """),
    ),
    Difference(
        Kind.CHOICE,
        "The bundle has a name conmon-counters while the container runs",
        "It leads to the monitor's counters, which can be read without disturbing it.",
        ("as podman", "as crio"),
        lines("""
            events | ours | CREATE bundle/conmon-counters
            events | ours | DELETE bundle/conmon-counters
            files while it runs | ours | bundle/conmon-counters link to /proc/MONITOR/fd/N
        """),
        elsewhere=True,
    ),
    Difference(
        Kind.CHOICE,
        "One exit file is written though the other cannot be",
        "C conmon gives up at the first. With it, who waits for the other learns nothing.",
        ("persist directory missing",),
        lines("""
            events | ours | CREATE exits/0123456789abcdef.XXXXXX
            events | ours | MOVED_FROM exits/0123456789abcdef.XXXXXX
            events | ours | MOVED_TO exits/0123456789abcdef
            files at the end | ours | exits/0123456789abcdef file 0644 '3'
        """),
    ),
    Difference(
        Kind.CHOICE,
        "An empty log is not replaced",
        "It has nothing to make room for: a record beyond the limit is written into it.",
        ("record over the limit",),
        lines("""
            events | C | CREATE logs/ctr.log.tmp
            events | C | MOVED_FROM logs/ctr.log.tmp
            events | C | MOVED_TO logs/ctr.log
        """),
    ),
    Difference(
        Kind.CHOICE,
        "A log that was moved away is made anew under its own name",
        "C conmon makes it under another and renames it, over whatever is there by then.",
        ("reopen a moved log",),
        lines("""
            events | C | CREATE logs/ctr.log.tmp
            events | C | MOVED_FROM logs/ctr.log.tmp
            events | C | MOVED_TO logs/ctr.log
            events | ours | CREATE logs/ctr.log
        """),
    ),
]
