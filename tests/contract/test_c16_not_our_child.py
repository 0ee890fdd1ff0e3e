"""C20.12: a container whose process is not conmon's child."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import time
from pathlib import Path

import pytest
from harness import Container
from harness_exec import as_podman_exec
from harness_os import Deadline, Process
from harness_proc import context_switches, open_fds, settled
from harness_syslog import Syslog

pytestmark = pytest.mark.ours("it hangs for ever, or reports 0 (C20.12)")

#: Since Linux 6.15 a pidfd tells how a process ended that its parent has reaped already.
PIDFD_TELLS = tuple(map(int, platform.release().split("-")[0].split(".")[:2])) >= (6, 15)


class Elsewhere:
    """A process of the harness's that conmon takes for the container."""

    def __init__(self, container: Container, end: str) -> None:
        """It waits on the fifo `go`, then does `end`, a shell fragment."""
        container.fifo("go")
        script = f"read -r _ <{container.bundle}/go; {end}"
        # a session of its own: --timeout kills the whole process group
        self._popen = subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True)
        self.process = Process(self._popen.pid)
        self._container = container
        container.put("pid-file", str(self._popen.pid))
        container.on_close(self.reap)

    def go(self) -> None:
        self._container.open_fifo(self._container.bundle / "go")

    def reap(self) -> None:
        """Let the kernel forget it, as its parent does that waits for it."""
        if self.process.fd >= 0:
            if self.process.alive():
                self.process.signal(signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # the guard was faster
                self.process.wait()
            self.process.close()


@pytest.mark.parametrize(
    ("end", "code"),
    [("exit 0", 0), ("exit 37", 37), ("kill -KILL $$", 137), ("kill -TERM $$", 143)],
)
def test_end(container: Container, end: str, code: int) -> None:
    """C20.12: its end is noticed, and how it ended; though its parent has not waited for it."""
    other = Elsewhere(container, end)
    container.launch()
    assert container.started() == other.process.pid
    other.go()
    assert container.end() == code
    assert container.persist_exit.read_bytes() == str(code).encode()


@pytest.mark.parametrize(("end", "code"), [("exit 37", 37), ("kill -KILL $$", 137)])
def test_end_that_is_waited_for_at_once(container: Container, end: str, code: int) -> None:
    """C20.12: the same if its parent waits for it before conmon can look.

    conmon is stopped for that time. Before Linux 6.15 nothing tells the code then: -1.
    """
    other = Elsewhere(container, end)
    container.launch()
    container.started()
    settled(container.monitor.pid)
    container.monitor.signal(signal.SIGSTOP)
    other.go()
    other.process.wait()
    container.monitor.signal(signal.SIGCONT)
    assert container.end() == (code if PIDFD_TELLS else -1)


def test_exec_session(container: Container) -> None:
    """C20.12, C6.3: the exit code of such a session is reported."""
    as_podman_exec(container)
    other = Elsewhere(container, "exit 9")
    container.launch()
    container.started()
    other.go()
    assert container.report() == {"data": 9}
    assert container.end() == 9


def test_waiting_costs_nothing(container: Container) -> None:
    """C20.12: nobody looks again and again whether it lives."""
    other = Elsewhere(container, "exit 1")
    container.launch()
    container.started()
    before = settled(container.monitor.pid)
    time.sleep(0.5)  # the measurement: nothing may happen in it
    assert context_switches(container.monitor.pid) == before
    other.go()
    assert container.end() == 1


def test_output_and_exit_command(container: Container) -> None:
    """C20.12, C17: all that belongs to an end is done."""
    other = Elsewhere(container, "exit 1")
    after = container.exit_command("x")
    container.launch()
    container.started()
    other.go()
    assert container.end() == 1
    assert (after / "recorded").exists()


def test_timeout(container: Container) -> None:
    """C17.4: --timeout ends it like any other."""
    other = Elsewhere(container, "exit 1")
    container.launch("--timeout", "1")
    container.started()
    assert container.end() == -1
    other.process.wait_gone()


def test_signals(container: Container) -> None:
    """C16: TERM is handed on to it."""
    other = Elsewhere(container, "exit 1")
    container.launch()
    container.started()
    container.monitor.signal(signal.SIGTERM)
    assert container.end() == 143
    assert other.process.wait() == -signal.SIGTERM


@pytest.mark.parametrize("reaped", [True, False])
def test_process_that_has_ended_before(container: Container, reaped: bool) -> None:
    """C20.12: a pid in the pid file of a process that is no more: the end is now, not never."""
    popen = subprocess.Popen(["/bin/sh", "-c", "exit 37"])
    with_fd = Process(popen.pid)
    with_fd.wait_gone()
    if reaped:
        popen.wait()
    container.put("pid-file", str(popen.pid))
    container.launch()
    assert container.started() == popen.pid
    assert container.end() == (-1 if reaped else 37)
    popen.wait()
    with_fd.close()


def test_pid_that_never_was(container: Container) -> None:
    """C20.12: no process has a number above the kernel's greatest; there is nothing to wait for."""
    container.put("pid-file", "999999999")
    container.launch()
    assert container.started() == 999999999
    assert container.end() == -1


def without_pidfd(failure: str) -> list[str]:
    """Words before a command: pidfd_open fails in it. strace is no parent of it (-D)."""
    inject = f"pidfd_open:error={failure}"
    return ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={inject}"]


@pytest.mark.parametrize("failure", ["ENOSYS", "EPERM", "EMFILE"])
def test_no_pidfd(container: Container, failure: str) -> None:
    """C20.12: without pidfds (Linux before 5.3, a filter, no fd left) an end is an end, no sooner.

    Its parent has not waited for it, so the code is known as well.
    """
    other = Elsewhere(container, "exit 37")
    syslog = Syslog(container)
    container.launch("--syslog", wrapper=[*syslog.wrapper, *without_pidfd(failure)])
    container.started()
    syslog.until(b"Cannot open a pidfd for the container, polling for its end")
    time.sleep(0.6)  # the measurement: the monitor looks in it, and must not see an end
    assert not container.exit_file.exists()
    other.go()
    assert container.end() == 37


def test_no_pidfd_and_the_end_is_waited_for(container: Container) -> None:
    """C20.12: the same, but nothing is left of the process: its end is noticed, not how it was."""
    other = Elsewhere(container, "exit 37")
    container.launch(wrapper=without_pidfd("ENOSYS"))
    container.started()
    container.monitor.signal(signal.SIGSTOP)  # or it might look while the process is dead
    other.go()
    other.process.wait()
    container.monitor.signal(signal.SIGCONT)
    assert container.end() == -1


def test_pidfd_later(container: Container) -> None:
    """C20.12: a pidfd that could not be had at first is had later; then nobody looks any more."""
    other = Elsewhere(container, "exit 37")
    container.launch(wrapper=without_pidfd("EMFILE:when=1"))
    container.started()
    deadline = Deadline()
    while "anon_inode:[pidfd]" not in open_fds(container.monitor.pid).values():
        assert not deadline.passed()
        time.sleep(0.005)  # polled: a new fd has no event
    before = settled(container.monitor.pid)
    time.sleep(0.6)  # the measurement: nothing may happen in it
    assert context_switches(container.monitor.pid) == before
    other.go()
    assert container.end() == 37


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can say which pid comes next")
def test_signal_when_the_pid_is_anothers(container: Container) -> None:
    """C16: a signal that conmon passes on reaches nobody who has the container's pid by then."""
    other = Elsewhere(container, "exit 37")
    container.launch()
    container.started()
    settled(container.monitor.pid)
    container.monitor.signal(signal.SIGSTOP)
    container.monitor.signal(signal.SIGHUP)  # so that conmon looks at its signals first
    other.go()
    other.process.wait()
    heir = process_with(other.process.pid)
    container.monitor.signal(signal.SIGTERM)
    container.monitor.signal(signal.SIGCONT)
    try:
        assert container.end() == (37 if PIDFD_TELLS else -1)
        assert heir.poll() is None
    finally:
        heir.kill()
        heir.wait()


def process_with(pid: int) -> subprocess.Popen[bytes]:
    """A process that has this pid, which was another's."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    if not os.access(last, os.W_OK):
        pytest.skip("which pid comes next cannot be said here")
    for _ in range(50):
        last.write_text(str(pid - 1))
        process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        if process.pid == pid:
            return process
        process.kill()
        process.wait()
    pytest.skip("others were faster to get the pid")
