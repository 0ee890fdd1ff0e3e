"""What the kernel counts of other processes, and the few system calls that Python has not."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
import time
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
_own_mounts = False
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWNS = 0x20000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_IN_CREATE, _IN_MOVED_TO, _IN_CLOSE_WRITE = 0x100, 0x80, 0x8
_EVENT = struct.Struct("iIII")  # inotify(7): wd, mask, cookie, length of the name that follows


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def become_subreaper() -> None:
    """Make orphaned descendants children of this process: a monitor leaves its parent."""
    _check(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def end_with_parent() -> None:
    """Have this process killed when its parent ends."""
    _check(libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def leave_mounts() -> None:
    """Give this process a mount namespace of its own. OSError where that is not allowed."""
    global _own_mounts  # noqa: PLW0603
    _check(libc.unshare(_CLONE_NEWNS), "unshare")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")
    _own_mounts = True


def has_own_mounts() -> bool:
    """True after leave_mounts(): what is mounted from now on, nobody else sees."""
    return _own_mounts


def cpu_s(pid: int) -> float:
    """CPU time of a process in s, over all its threads and everything it has executed.

    Its children are not in it. Exact to the ns where the kernel's clock is, not by ticks; a
    process that has ended keeps it until it is waited for. See clock_getcpuclockid(3).
    """
    return time.clock_gettime((~pid << 3) | 2)


def others_cpu_s() -> float:
    """CPU time in s that was not ours: all that was used or stolen since the start of the machine,
    less what this process and its children that have been reaped have used (proc_stat(5)).
    """
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    used = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return used - sum(os.times()[:4])


def processors() -> int:
    """How many are there to be idle."""
    return os.sysconf("SC_NPROCESSORS_ONLN")


def idle_s() -> float:
    """Time in s that the processors were idle, all together: the kernel counts it in ns where they
    stop ticking meanwhile (NO_HZ), while busy time may be counted by ticks (proc_stat(5)).
    """
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return sum(map(int, fields[3:5])) / os.sysconf("SC_CLK_TCK")


def memory_kb(pid: int) -> dict[str, int]:
    """A process's memory in kB by the names of /proc/PID/smaps_rollup: Rss, Pss, ..."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        found[name] = int(value.split()[0])
    return found


def context_switches(pid: int) -> int:
    """How often the threads of a process have been given the CPU since its start."""
    count = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for line in (thread / "status").read_text().splitlines():
            if "ctxt_switches" in line:
                count += int(line.split()[1])
    return count


def wait_readable(fd: int, seconds: float) -> bool:
    """True when `fd` is readable, or at its end, before so long has passed."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(max(0, seconds) * 1000))


class NewFiles:
    """Tells when a file of some name is complete in a directory: renamed to, or written."""

    def __init__(self, directory: Path) -> None:
        self._fd = _check(libc.inotify_init1(os.O_CLOEXEC), "inotify_init1")
        mask = _IN_MOVED_TO | _IN_CLOSE_WRITE
        _check(libc.inotify_add_watch(self._fd, os.fsencode(directory), mask), "inotify")

    def wait(self, name: str, seconds: float) -> float:
        """Wait for it: time.perf_counter() then. TimeoutError after so many seconds."""
        end = time.perf_counter() + seconds
        while wait_readable(self._fd, end - time.perf_counter()):
            data = os.read(self._fd, 65536)
            now = time.perf_counter()
            at = 0
            while at < len(data):
                length = _EVENT.unpack_from(data, at)[3]
                at += _EVENT.size
                if data[at : at + length].rstrip(b"\0") == os.fsencode(name):
                    return now
                at += length
        raise TimeoutError(f"no file {name} within {seconds} s")

    def close(self) -> None:
        os.close(self._fd)
