"""Run once, by import, before the interpreter's image is made (_image.pyx).

It goes through what every Python life does and what leaves no trace outside of the interpreter.
Afterwards the bytecode is specialised, and attribute and method lookups are cached: a process
that goes on with the image finds these as they are, and does not copy the pages that they are
in to write them.
"""

from conmon import _fastio, channels, cli, diag, finish, launch, runtime

# The evaluator specialises what it has run more often than this (CPython: 8, later 2).
_ROUNDS = 16
_PODMAN = (
    b"--api-version 1 -c 0123abcd -u 0123abcd -r / -b /bundle -p /bundle/pidfile -n name"
    b" --exit-dir /exits --persist-dir /persist --full-attach -s -l k8s-file:/dev/null"
    b" --log-level warning --syslog --conmon-pidfile /conmon.pid --runtime-arg --log-format=json"
    b" --runtime-arg --log --runtime-arg=/log --exit-command /exit --exit-command-arg --root"
    b" --exit-command-arg /root --exit-command-arg container --exit-command-arg cleanup"
)
_NO_TEXTS = dict.fromkeys(
    ("cid", "syslog_tag", "persist_dir", "exit_dir", "attach_path", "attach_link", "counters_path"),
    b"",
)
_EXEC = b" -e --exec-attach --exec-process-spec /process"


def _rehearse(line: bytes) -> None:
    options = cli.parse(line.split())
    cli.check_early(options)
    life = launch.Launch([b"conmon"], options)
    life.configure()
    life.open_log()
    life.oom_score = None
    life.wait_for_start()
    life.sync.checked()
    life.owes_exit_command = False
    runtime.command(options)
    life.stdio = channels.open_stdio(options)
    life.stdio.for_runtime()
    life.stdio.close_runtime_ends()
    life.wait_for_client(runtime.Timeout(0))
    life.describe_streams(runtime.HeldOutput(None))
    life.report(1)
    life.report(-1, b"text")
    life.describe()
    finish.main([b"conmon"], {**life.fields, "has_exit_command": 0}, _NO_TEXTS)
    diag.trace(b"nobody hears this")
    for name in ("log_fd", "stdout_fd", "stderr_fd"):
        _fastio.close_fd(life.fields[name])


for _ in range(_ROUNDS):
    _rehearse(_PODMAN)
    _rehearse(_PODMAN + _EXEC)
diag.configure(diag.WARNING, False, b"")
_fastio.new_record()
