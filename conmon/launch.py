"""The launch life: from the command line to a running container, then on to the monitor."""

import posix

from conmon import _fastio, channels, cli, diag, logdrivers, parent, process, runtime
from conmon.console import Console
from conmon.control import Control

# What the bits of the counter `sandbox` stand for.
_SANDBOX = (b"no_new_privs", b"capabilities", b"Landlock", b"seccomp")


def main(argv: list[bytes]) -> int:
    """Do what the command line says; conmon's exit status, if it does not become the monitor."""
    try:
        options = cli.parse(argv[1:])
        if options.help:
            return _print(cli.help_text())
        if options.version:
            return _print(_fastio.VERSION_TEXT)
        cli.check_early(options)
    except cli.UsageError as error:
        diag.usage_error(error.args[0])
        parent.refuse(argv[1:], error.args[0])
        return 1
    launch = Launch(argv, options)
    try:
        return launch.run()
    except diag.Fatal as fatal:
        launch.fail(fatal.args[0])
    except Exception as exception:
        text = diag.internal_error(exception)
        if launch.container_runs:
            diag.error(text)
            return launch.enter_monitor()
        launch.fail(text)
    return launch.give_up()


def _print(text: bytes) -> int:
    posix.write(1, text)
    return 0


class Launch:
    """One launch; `fields` and `texts` grow into the record that the monitor gets."""

    def __init__(self, argv: list[bytes], options: cli.Options) -> None:
        self.argv = argv
        self.options = options
        self.fields = _fastio.new_record()
        self.texts: process.Texts = {"cid": options.cid}
        self.start = parent.Pipe(parent.START)
        self.sync = parent.Pipe(parent.SYNC)
        self.fields["sync_fd"] = self.sync.fd
        self.attach = parent.Pipe(parent.ATTACH) if options.exec_attach else None
        self.console: Console | None = None
        self.control: Control | None = None
        self.has_go = False
        self.reported = False
        self.owes_exit_command = False
        self.has_children = False
        self.container_runs = False

    def run(self) -> int:
        """The steps of C4, in their order. diag.Fatal. Returns only if no other life began."""
        self.prepare()
        held = self.start_container()
        # from here on nothing but the container's end may end conmon: it owes the exit code
        self.container_runs = True
        self.describe_streams(held)
        self.watch_kills()
        if self.options.api_version >= 1 or not self.options.exec_mode:
            self.report(self.fields["container_pid"])
        return self.enter_monitor()

    def prepare(self) -> None:
        """All that can be done before the runtime is started, and so can still be refused."""
        options = self.options
        posix.umask(0o022)
        self.configure()
        self.open_log()
        self.oom_score = process.protect_from_oom_killer()
        _fastio.signals_at_start()
        self.wait_for_start()
        attach_fd = self.check_pipes()
        self.describe()
        if options.sandbox == b"strict":
            self.try_sandbox()
        self.null = posix.open(b"/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
        gate = process.daemonize() if not options.sync else -1
        # before the first file is made: a signal that ended conmon would leave it behind
        _fastio.block_signals()
        if gate >= 0:
            process.announce(gate, options.conmon_pidfile)
        self.open_notify()
        if not self.plan.passthrough:
            self.drop_stdio()
        process.lead_session()
        self.open_channels()
        self.own_listen_pid = runtime.owns_listen_pid(options)
        self.reserve_exit_files()
        self.signal_fd = self.fields["signal_fd"] = _fastio.signal_fd()
        self.fields["epoll_fd"] = _fastio.epoll_fd()
        # last: who has read this goes on to attach, and looks for no refusal meanwhile
        if options.exec_attach:
            parent.send(attach_fd, parent.message(b"data", 0))

    def configure(self) -> None:
        """Check the options and settle how conmon speaks."""
        options = self.options
        cli.validate(options)
        level = diag.LEVELS[options.log_level or b"warn"]
        tag = options.cid or b""
        if options.log_tag is not None:
            tag += b": " + options.log_tag
        diag.configure(level, options.syslog, tag)
        self.fields["log_level"] = level
        self.fields["use_syslog"] = options.syslog
        self.texts["syslog_tag"] = tag

    def open_log(self) -> None:
        """Open where the container's output goes, and check the options that belong to it."""
        options, fields = self.options, self.fields
        self.plan = plan = logdrivers.plan_paths(options)
        fields["log_fd"], fields["log_size"] = logdrivers.open_log(plan)
        logdrivers.check_options(options, plan)
        fields["log_total"] = fields["log_size"]
        fields.update(logdrivers.hold_log(options, plan, fields["log_fd"]))
        fields["log_global_size_max"] = options.log_global_size_max
        fields["sync_log"] = not options.no_sync_log
        self.texts["log_path"] = plan.name
        if plan.journald:
            self.texts["journal_socket"] = logdrivers.JOURNAL_SOCKET
            entry_fields = logdrivers.journal_fields(options)
            self.texts["journal_fields"] = entry_fields
            fields["journal_fields_size"] = len(entry_fields)
            fields["journal_no_partial"] = options.no_container_partial_message

    def wait_for_start(self) -> None:
        """Wait until the caller has put us where we belong, its cgroup."""
        self.has_go = True
        if self.start.checked() >= 0:
            parent.wait_for_start(self.start.fd)
            if not self.options.exec_attach:
                self.start.close()

    def check_pipes(self) -> int:
        """Refuse what cannot be reported to; the attach pipe's fd, or -1. diag.Fatal."""
        self.sync.checked()
        return parent.attach_fd(self.attach) if self.attach is not None else -1

    def drop_stdio(self) -> None:
        """Let go of the caller's stdio. diag.Fatal."""
        try:
            process.drop_stdio(self.null)
        except OSError as error:
            raise diag.Fatal(
                b"Failed to replace stdin, stdout and stderr by /dev/null: " + diag.strerror(error)
            ) from None

    def open_notify(self) -> None:
        """The relay to the host's service manager."""
        host, bundle = self.options.sdnotify_socket, self.options.bundle
        if host is None or bundle is None:
            return
        if len(host) > channels.SUN_PATH:
            diag.warn(b"Notifications are not relayed, the socket's path is too long: " + host)
            return
        self.fields["notify_fd"] = channels.open_notify(bundle)
        self.texts["notify_host"] = host

    def open_channels(self) -> None:
        """Stdio, and in the bundle attach socket and fifos: clients may come from here on.

        An exec session may have no bundle (CRI-O); passthrough has nothing to attach to.
        """
        options, fields = self.options, self.fields
        if self.plan.passthrough:
            self.stdio = channels.Stdio()
        else:
            self.stdio = channels.open_stdio(options)
            fields["held_fd"] = posix.memfd_create("conmon-held", posix.MFD_CLOEXEC)
        if options.bundle is not None and not self.plan.passthrough:
            self.open_bundle(options.bundle)
        if options.terminal:
            self.control = Control(fields["ctl_fd"], fields["winsz_fd"])
            self.console = Console(self.control, self.null)

    def open_bundle(self, bundle: bytes) -> None:
        """Attach socket and fifos."""
        fields = self.fields
        link = self.texts["attach_link"] = channels.link_bundle(self.options, bundle)
        if link is not None:
            fields["attach_link_fd"] = _fastio.hold_name(link)
        # known before it is there: what fails behind the bind must not leave the name
        self.texts["attach_path"] = path = b"%b/attach" % bundle
        fields["attach_fd"] = channels.open_attach(bundle)
        fields["attach_path_fd"] = _fastio.hold_name(path)
        fields["ctl_fd"] = channels.open_fifo(bundle, b"ctl")
        fields["winsz_fd"] = channels.open_fifo(bundle, b"winsz")

    def reserve_exit_files(self) -> None:
        """Hold room for the exit code, which the container could take. Best effort."""
        options = self.options
        for name, directory in (
            ("persist_exit_fd", options.persist_dir), ("exit_file_fd", options.exit_dir),
        ):  # fmt: skip
            if not directory:
                continue
            try:
                self.fields[name] = _fastio.reserve_exit_file(directory)
            except OSError as error:
                diag.debug(b"no room held in %b: %b" % (directory, diag.strerror(error)))

    def try_sandbox(self) -> None:
        """Refuse what would be less than was asked for: the monitor could only tell. diag.Fatal."""
        lacks = _fastio.sandbox_lacks(self.fields, self.texts)
        if lacks:
            names = b", ".join([name for i, name in enumerate(_SANDBOX) if lacks & 1 << i])
            raise diag.Fatal(b"The kernel refuses what --sandbox=strict needs: " + names)

    def start_container(self) -> runtime.HeldOutput:
        """Run the OCI runtime to its end and learn the container's pid. diag.Fatal."""
        options, stdio, console = self.options, self.stdio, self.console
        argv = runtime.command(options, console.path if console is not None else None)
        diag.trace(b"calling runtime args: " + b" ".join(argv))
        runtime.check_signals(self.signal_fd)
        session = options.exec_mode
        timeout = runtime.Timeout(options.timeout if session else 0)
        self.wait_for_client(timeout)
        try:
            pid = _fastio.spawn(
                argv,
                null_fd=self.null,
                stdio=["keep"] * 3 if self.plan.passthrough else stdio.for_runtime(),
                oom_score_adj=self.oom_score,
                own_listen_pid=self.own_listen_pid,
            )
        except OSError as error:
            raise diag.Fatal(b"Failed to fork the runtime: " + diag.strerror(error)) from None
        self.owes_exit_command = options.exit_command is not None
        self.has_children = True
        if self.plan.passthrough:
            try:
                self.drop_stdio()
            except diag.Fatal as fatal:  # not worth a container
                diag.warn(fatal.args[0])
        stdio.close_runtime_ends()
        code, held = runtime.wait(
            pid, stdio, self.signal_fd, console,
            session_pidfile=options.container_pidfile if session else None,
            timeout=timeout,
        )  # fmt: skip
        # a session's includes its runtime's time, a container's begins now
        left = timeout.left_ms() if session else options.timeout * 1000
        self.fields["timeout_ms"] = max(left, 1) if options.timeout > 0 else 0
        # a runtime that fails has cleaned up after itself, one that was killed could not
        self.has_children = code == 0 or code > 128
        # for a session the pid file tells whether its command was started, not the code
        if code != 0 and not options.exec_mode:
            text = runtime.error_text(stdio, held)
            diag.warn(b"runtime stderr: " + (text or b""))
            self.report(-1, text)
            raise diag.Fatal(b"Failed to create container: exit status %d" % code)
        if console is not None and not session:
            self.take_terminal(console)
        self.read_container_pid(held)
        if console is not None and session:
            # after the pid file: that tells first that there is no session at all
            self.take_terminal(console)
        return held

    def wait_for_client(self, timeout: runtime.Timeout) -> None:
        """Wait until the caller has attached to the session: the start pipe's second byte, or end.

        C conmon waits in the runtime's child, which so cannot be had by vfork. diag.Fatal.
        """
        fd = self.start.fd
        while self.start.fd >= 0:
            left = timeout.left_ms()
            if left == 0:
                raise diag.Fatal(b"command timed out")
            ready = _fastio.wait_readable([fd, self.signal_fd], min(left, runtime.POLL_MS))
            if self.signal_fd in ready:
                runtime.check_signals(self.signal_fd)
            if fd in ready:
                parent.wait_for_start(fd)
                self.start.close()

    def read_container_pid(self, held: runtime.HeldOutput) -> None:
        """Read the container's pid. A pid file without a pid is none at all (C20.7). diag.Fatal."""
        path = self.options.container_pidfile or b""
        try:
            self.fields["container_pid"] = pid = runtime.find_pid(path)
            if pid in held.ended and not process.is_child(pid):
                self.fields["ended"] = 1
                self.fields["exit_code"] = held.ended[pid]
            return
        except OSError as error:
            reason = b"%b: %b" % (path, diag.strerror(error))
        except ValueError as error:
            reason = b"no pid in %b: '%b'" % (path, error.args[0])
        if held.timed_out:
            text: bytes | None = b"command timed out"
        else:
            text = runtime.error_text(self.stdio, held)
        self.report(-1, text or b"Failed to read pidfile: " + reason)
        raise diag.Fatal(b"Failed to read pidfile: " + reason)

    def watch_kills(self) -> None:
        """Watch for kills for memory before anybody knows the pid: `start` may follow at once."""
        nobody_to_tell = self.options.persist_dir is None and self.options.bundle is None
        if nobody_to_tell or self.fields["ended"]:
            return
        fields, error = _fastio.watch_kills(self.fields["container_pid"])
        self.fields.update(fields)
        if error:
            reason = diag.strerror(OSError(error, ""))
            diag.debug(b"Failed to watch the container's memory cgroup: " + reason)

    def take_terminal(self, console: Console) -> None:
        """The pty's master is the container's stdin and stdout. diag.Fatal."""
        console.finish()
        if console.terminal < 0:
            raise diag.Fatal(b"Runtime did not set up terminal")
        self.stdio.stdout = console.terminal
        self.stdio.stdin = console.second_fd()
        self.fields["terminal"] = 1

    def report(self, value: int, text: bytes | None = None) -> None:
        """Tell the parent; once it has gone, or cannot be told, nothing is told any more."""
        self.reported = True
        key = parent.result_key(self.options.api_version, self.options.exec_mode)
        try:
            told = parent.send(self.fields["sync_fd"], parent.message(key, value, text))
        except diag.Fatal as fatal:
            diag.error(fatal.args[0])
            told = False
        if not told:
            self.sync.close()
            self.fields["sync_fd"] = -1

    def describe(self) -> None:
        """Put what the options say into the record."""
        options, fields = self.options, self.fields
        fields["has_stdin"] = options.stdin
        fields["leave_stdin_open"] = options.leave_stdin_open
        fields["log_latency"] = options.log_latency
        fields["slow_client_seconds"] = cli.slow_client_seconds(options)
        fields["api_version"] = options.api_version
        fields["exec_mode"] = options.exec_mode
        fields["sandbox"] = cli.SANDBOX[options.sandbox]
        self.texts["bundle"] = options.bundle
        if options.bundle is not None:
            self.texts["counters_path"] = options.bundle + b"/conmon-counters"
        self.texts["persist_dir"] = options.persist_dir
        self.texts["exit_dir"] = options.exit_dir
        if options.exit_command is not None:
            self.texts["exit_argv"] = [options.exit_command, *options.exit_command_args]
        fields["exit_delay"] = options.exit_delay
        fields["restore_oom_score"] = self.oom_score is not None
        fields["oom_score_adj"] = self.oom_score or 0

    def describe_streams(self, held: runtime.HeldOutput) -> None:
        """Put what there is now into the record: streams, and what came before the monitor."""
        fields, stdio = self.fields, self.stdio
        fields["stdin_fd"] = stdio.stdin
        fields["stdout_fd"] = stdio.stdout
        fields["stderr_fd"] = stdio.stderr
        if self.control is not None:
            self.texts["ctl_early"] = self.control.ctl.kept()
            self.texts["winsz_early"] = self.control.winsz.kept()
        if held.stdout or held.stderr:
            self.spool(held)
        else:
            _fastio.close_fd(fields["held_fd"])
            fields["held_fd"] = -1

    def enter_monitor(self) -> int:
        """Hand everything over; conmon's exit status, if the monitor had to run in here."""
        # all that no other life needs: the record names the rest, or it is the caller's own
        _fastio.close_fd(self.null)
        if self.attach is not None:
            self.attach.close()
        fields = self.fields
        try:
            return _fastio.enter_monitor(fields, self.texts, self.argv)
        except (OSError, MemoryError) as error:
            # the container runs: its exit code must not be lost, whatever the memory costs
            diag.warn(
                b"Cannot start a clean process, monitoring in this one: "
                + diag.internal_error(error)
            )
        return _fastio.monitor(fields, self.texts, self.argv)

    def spool(self, held: runtime.HeldOutput) -> None:
        """Pass on what was held, in a memfd: stdout's bytes, then stderr's."""
        fields = self.fields
        try:
            for stream in (held.stdout, held.stderr):
                data = memoryview(stream)
                while data:
                    data = data[posix.write(fields["held_fd"], data) :]
            fields["held_stdout_size"] = len(held.stdout)
            fields["held_stderr_size"] = len(held.stderr)
        except (OSError, MemoryError) as error:
            diag.warn(b"Output from before the start is lost: " + diag.internal_error(error))

    def fail(self, text: bytes) -> None:
        """Say why there is no container, to the parent too unless it knows already.

        The parent may not listen before it has put us where we belong.
        """
        diag.error(text)
        if not self.reported:
            if not self.has_go:
                parent.wait_for_go(self.start)
            self.report(-1, text)

    def give_up(self) -> int:
        """End a launch that failed. Once the runtime was started, the exit command is due."""
        if self.console is not None:
            self.console.close()
        _fastio.close_listener(self.fields["attach_fd"])
        self.fields["attach_fd"] = -1
        for name in ("attach_path", "attach_link"):
            path = self.texts.get(name)
            if isinstance(path, bytes):
                _remove(path, self.fields[name + "_fd"])
        if self.fields["notify_fd"] >= 0 and self.options.bundle is not None:
            channels.remove_notify(self.options.bundle)
        if self.has_children:
            process.end_children()
        if not self.owes_exit_command:
            return 1
        _fastio.hold_record(self.fields, self.texts)
        return process.run_exit_command(self.argv, 1)


def _remove(path: bytes, held: int) -> None:
    try:
        _fastio.remove_own_name(path, held)
    except OSError:
        pass
