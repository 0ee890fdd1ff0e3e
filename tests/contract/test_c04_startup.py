"""C4: what happens on the way to the report, as far as it can be seen from outside."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from harness import Container, Pipes
from harness_os import Deadline, Process, wait_fd
from harness_proc import listed_fds, open_fds, signals, status


def waits_in_a_read(pid: int) -> bool:
    """True when a process sleeps in a system call on the start pipe (proc_pid_syscall(5))."""
    fields = Path(f"/proc/{pid}/syscall").read_text().split()
    environ = Path(f"/proc/{pid}/environ").read_bytes()
    match = re.search(rb"_OCI_STARTPIPE=(\d+)", environ)
    return match is not None and len(fields) > 2 and int(fields[1], 16) == int(match[1])


def wait_for_read(pid: int) -> None:
    """Poll until the process waits on its start pipe: that has no event of its own."""
    deadline = Deadline()
    while not waits_in_a_read(pid):
        assert not deadline.passed(), "conmon does not read the start pipe"
        time.sleep(0.002)


def test_nothing_starts_before_the_start_pipe(container: Container) -> None:
    """C4.5, C4.7: the start pipe is read before the fork and before the runtime runs."""
    container.record()
    container.command("exit 0")
    container.launch(go=False)
    wait_for_read(container.parent.pid)
    assert container.parent.alive()
    assert not container.conmon_pidfile.exists()
    assert not list(container.seen.iterdir())
    assert not container.sync_ready()
    container.go()
    container.started()
    assert container.end() == 0


def test_end_of_file_on_the_start_pipe_is_a_go(container: Container) -> None:
    """C4.5: a caller that closes the start pipe without a byte is as good."""
    container.command("exit 5")
    container.launch(go=False)
    container.close_start()
    container.started()
    assert container.end() == 5


def test_without_a_start_pipe(container: Container) -> None:
    """C4.5: without _OCI_STARTPIPE nothing is waited for."""
    container.command("exit 5")
    container.launch(go=False, without=("_OCI_STARTPIPE",))
    container.started()
    assert container.end() == 5


def test_log_is_opened_before_the_start_pipe_is_read(container: Container) -> None:
    """C3 NB: the log file is there while conmon still waits for its start."""
    container.command("exit 0")
    container.launch(go=False)
    container.wait_name(container.log)
    assert container.parent.alive()
    container.go()
    container.started()
    assert container.end() == 0


def test_parent_ends_after_the_conmon_pidfile(container: Container) -> None:
    """C4.7, D3: when the intermediate parent has exited 0, the pid file names the monitor."""
    container.fifo("hang")
    container.command("exit 0")
    container.launch()
    assert container.parent_status() == 0
    pid = int(container.conmon_pidfile.read_bytes())
    assert pid != container.parent.pid
    monitor = Process(pid)
    assert monitor.alive()
    monitor.close()
    container.open_fifo(container.bundle / "hang")
    container.started()
    assert container.end() == 0


def test_stdio_is_dropped(container: Container) -> None:
    """C4.11, D1: nobody in the daemon holds the caller's stdout and stderr: podman waits for that.

    The monitor's own fds 0, 1 and 2 are /dev/null.
    """
    reads, writes = zip(os.pipe(), os.pipe(), strict=True)
    container.fifo("start")
    container.command("exit 0")
    container.launch(stdout=writes[0], stderr=writes[1])
    for fd in writes:
        os.close(fd)
    container.started()
    for fd in reads:
        assert wait_fd(fd, Deadline()), "somebody holds the caller's stdio"
        assert os.read(fd, 1) == b""
        os.close(fd)
    fds = open_fds(container.monitor.pid)
    assert [fds[fd] for fd in range(3)] == [os.devnull] * 3
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0


def test_monitor_is_session_leader_and_subreaper(container: Container) -> None:
    """C4.12: the monitor leads a session, and the orphaned container process is its child."""
    container.fifo("start")
    container.command("exit 0")
    container.launch()
    pid = container.started()
    monitor = container.monitor.pid
    assert os.getsid(monitor) == monitor
    assert status(Path(f"/proc/{pid}/status"))["PPid"] == str(monitor)
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0


def test_ctl_has_a_reader_at_the_report(container: Container) -> None:
    """C4.15, D3: podman opens ctl without blocking right after the report, and only once."""
    container.fifo("start")
    container.command("exit 0")
    container.launch()
    container.started()
    for name in ("ctl", "winsz"):
        os.close(os.open(container.bundle / name, os.O_WRONLY | os.O_NONBLOCK))
    container.attach().close()
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0


def test_channels_are_there_when_the_runtime_starts(container: Container) -> None:
    """C4.15, C4.16: attach, ctl and winsz are made before the runtime is started."""
    container.record()
    container.fifo("hang")
    container.command("exit 0")
    container.launch()
    container.wait_file(container.seen / "runtime.pid")
    client = container.attach(accepted=False)
    os.close(os.open(container.bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK))
    assert not container.sync_ready()
    container.open_fifo(container.bundle / "hang")
    container.started()
    assert container.end() == 0
    client.close()


@pytest.mark.ours("older versions set it to 0")
def test_runtime_has_the_callers_oom_score(container: Container) -> None:
    """C4.3, C4.16: whatever conmon sets for itself, the runtime gets the caller's value back."""
    container.record()
    container.command("exit 0")
    set_score = 'echo 321 >/proc/self/oom_score_adj && exec "$@"'
    assert container.run(wrapper=["/bin/sh", "-c", set_score, "sh"]) == 0
    assert (container.seen / "runtime.oom_score_adj").read_text() == "321\n"


@pytest.mark.ours("older versions leave the caller's umask")
def test_umask(container: Container) -> None:
    """C4.1: conmon sets umask 0022, for itself and so for the runtime."""
    container.record()
    container.command("exit 0")
    assert container.run(umask=0o077) == 0
    assert status(container.seen / "runtime.status")["Umask"] == "0022"


def test_runtime_blocks_no_signal(container: Container) -> None:
    """C4.16: the runtime has the signal mask that the caller had."""
    container.record()
    container.command("exit 0")
    assert container.run() == 0
    assert signals(status(container.seen / "runtime.status")["SigBlk"]) == set()


@pytest.mark.ours("the runtime inherits SIGPIPE=IGN (C20.18)")
def test_runtime_ignores_no_signal(container: Container) -> None:
    """C20.18: SIGPIPE has its default action in the runtime, and so in the container."""
    container.record()
    container.command("exit 0")
    assert container.run() == 0
    assert signals(status(container.seen / "runtime.status")["SigIgn"]) == set()


def test_runtime_runs_where_conmon_was_started(container: Container) -> None:
    """C4.16: the runtime inherits the working directory."""
    container.record()
    container.command("exit 0")
    assert container.run(cwd=container.root / "tmp") == 0
    assert (container.seen / "runtime.cwd").read_text() == f"{container.root / 'tmp'}\n"


def test_runtime_stdio_without_stdin(container: Container) -> None:
    """C4.13, C4.16: without -i stdin is /dev/null; stdout and stderr are two pipes."""
    container.record()
    container.command("exit 0")
    assert container.run() == 0
    fds = listed_fds(container.seen / "runtime.fds")
    assert fds[0] == os.devnull
    assert fds[1].startswith("pipe:")
    assert fds[2].startswith("pipe:")
    assert fds[1] != fds[2]


def test_runtime_stdin_is_a_pipe_with_i(container: Container) -> None:
    """C4.13: with -i stdin is a pipe too."""
    container.record()
    container.command("exit 0")
    assert container.run("-i") == 0
    assert listed_fds(container.seen / "runtime.fds")[0].startswith("pipe:")


@pytest.mark.ours("older versions leave mode 0600")
def test_stdio_can_be_opened_again_by_anybody(container: Container) -> None:
    """C4.16: the pipes have mode 0777, so that a container's user can open /dev/stdout."""
    # Asked by the container process: until it is there, the stand-in's gate is its stdin.
    look = 'stat -L -c %a "/proc/$$/fd/0" "/proc/$$/fd/1" "/proc/$$/fd/2"'
    container.allow("bundle/modes")
    container.command(f'modes=$({look}); echo "$modes" >modes; exit 0')
    container.launch("-i")
    assert container.end() == 0
    assert (container.bundle / "modes").read_text().split() == ["777"] * 3


def test_runtime_gets_the_callers_fds_and_no_others(container: Container) -> None:
    """C4.16: fds without CLOEXEC (ports, --preserve-fds) reach the runtime; conmon's own do not."""
    container.record()
    container.command("exit 0")
    with open(container.root / "tmp" / "port", "w") as port:
        container.allow("tmp/port")
        assert container.run(pass_fds=[port.fileno()]) == 0
        fds = listed_fds(container.seen / "runtime.fds")
        assert set(fds) == {0, 1, 2, port.fileno()}
        assert fds[port.fileno()] == port.name


def test_runtime_dies_with_conmon(container: Container) -> None:
    """C4.16: a runtime at work is killed when conmon dies (PR_SET_PDEATHSIG)."""
    container.record()
    container.fifo("hang")
    container.launch()
    runtime = Process(int(container.wait_file(container.seen / "runtime.pid")))
    container.on_close(runtime.close)
    container.monitor.signal(signal.SIGKILL)
    container.monitor.wait()
    assert runtime.wait() == -signal.SIGKILL
    container.allow("bundle/attach")


@pytest.mark.parametrize("pipes", Pipes)
def test_kinds_of_pipes(container: Container, pipes: Pipes) -> None:
    """D1, D2: sync and start pipes are packet sockets, stream sockets, or a pipe."""
    container.as_crio()
    container.command("exit 9")
    container.launch(pipes=pipes)
    container.started()
    assert container.end() == 9


def test_sync_pipe_stays_open_for_the_containers_life(container: Container) -> None:
    """C6.3: the caller sees end of file on the sync pipe at conmon's end, not before."""
    container.fifo("start")
    container.command("exit 0")
    container.launch()
    container.started()
    assert not container.sync_ready()
    container.open_fifo(container.bundle / "start")
    assert container.end() == 0
    assert container.message() == b""


def test_sync_mode(container: Container) -> None:
    """C2 --sync, C4.7: conmon does not daemonize; its exit status is the container's."""
    container.command("echo out; exit 41")
    container.launch("--sync")
    container.started()
    assert container.wait_exit_file() == b"41"
    assert container.parent_status() == 41
    assert not container.conmon_pidfile.exists()
    assert container.log.read_bytes().endswith(b" stdout F out\n")
