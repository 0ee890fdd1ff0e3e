"""Pids of another PID namespace, in numbers of our own (pid_namespaces(7))."""

from __future__ import annotations

import fcntl
import os

from conmon.host import procfs

# _IOR(0xb7, 0x6, int): a pid of the namespace behind the fd, as the caller counts; Linux 6.11
_GET_PID_FROM_PIDNS = 0x8004_B706


class PidSpace:
    """The PID namespace of a process. It outlasts the process. ProcessLookupError."""

    def __init__(self, pid: int) -> None:
        try:
            self._fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ProcessLookupError(error.errno, f"no process {pid}") from None
        try:
            own = os.stat("/proc/self/ns/pid")
            self._inode = os.fstat(self._fd).st_ino
            self._is_ours = own.st_ino == self._inode
            self._depth = len(procfs.status(pid).ns_pids)
        except BaseException:
            os.close(self._fd)
            raise

    def translate(self, pid: int) -> int:
        """Our number of a process that has `pid` there. ProcessLookupError."""
        if self._is_ours:
            return pid
        try:
            return fcntl.ioctl(self._fd, _GET_PID_FROM_PIDNS, pid)
        except ProcessLookupError:
            raise
        except OSError:
            return self.search(pid)

    def search(self, pid: int) -> int:
        """The same for kernels that do not tell: look at every process. ProcessLookupError."""
        for entry in os.listdir("/proc"):
            try:
                status = procfs.status(int(entry))
                if len(status.ns_pids) < self._depth or status.ns_pids[self._depth - 1] != pid:
                    continue
                if self._inode in (_namespace(status.pid), _namespace(status.ppid)):
                    return status.pid
            except (ValueError, OSError):
                continue
        raise ProcessLookupError(3, f"no process {pid} in that PID namespace")

    def close(self) -> None:
        """Let the namespace go."""
        os.close(self._fd)


def _namespace(pid: int) -> int:
    return os.stat(f"/proc/{pid}/ns/pid").st_ino
