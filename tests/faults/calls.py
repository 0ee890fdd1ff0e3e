"""System calls by name, what they are given in words, and which errors each can end with."""

from __future__ import annotations

import errno
import functools
import os
import re
import subprocess
import tomllib
from pathlib import Path

_TABLE = Path(__file__).with_name("errnos.toml")
_FCNTL = {
    0: "F_DUPFD", 1: "F_GETFD", 2: "F_SETFD", 3: "F_GETFL", 4: "F_SETFL", 5: "F_GETLK",
    6: "F_SETLK", 7: "F_SETLKW", 36: "F_OFD_GETLK", 37: "F_OFD_SETLK", 1030: "F_DUPFD",
    1031: "F_SETPIPE_SZ", 1032: "F_GETPIPE_SZ", 1033: "F_ADD_SEALS", 1034: "F_GET_SEALS",
}  # fmt: skip
_PATH_AT = {
    "open": 0, "openat": 1, "unlink": 0, "unlinkat": 1, "access": 0, "faccessat": 1,
    "faccessat2": 1, "stat": 0, "lstat": 0, "newfstatat": 1, "statx": 1, "rename": 1,
    "renameat": 3, "renameat2": 3, "symlink": 1, "symlinkat": 2, "link": 1, "linkat": 3,
    "mknod": 0, "mknodat": 1, "mkdir": 0, "mkdirat": 1, "chmod": 0, "fchmodat": 1, "readlink": 0,
    "readlinkat": 1, "execve": 0, "inotify_add_watch": 1, "statfs": 0, "memfd_create": 0,
    "chdir": 0,
}  # fmt: skip
# Arguments that tell calls of one name apart, and are the same in each session.
_SHOWN = {
    "mmap": (1, 2, 3), "munmap": (1,), "mprotect": (1, 2), "madvise": (1, 2), "prctl": (0,),
    "kill": (1,), "clone": (0,),
}  # fmt: skip
_OPTIONS = {"wait4": 2, "waitid": 3}
_FLAGS = {"open": 1, "openat": 2}
_FD_FIRST = frozenset({
    "read", "write", "readv", "writev", "pread64", "pwrite64", "close", "fstat", "fstatfs",
    "fsync", "fdatasync", "ftruncate", "lseek", "ioctl", "fcntl", "dup", "dup2", "dup3", "fchmod",
    "epoll_ctl", "epoll_wait", "epoll_pwait", "sendmsg", "sendto", "sendmmsg", "recvmsg",
    "recvfrom", "connect", "bind", "listen", "accept", "accept4", "shutdown", "setsockopt",
    "getsockopt", "getsockname", "getdents64", "fallocate", "splice", "tee", "vmsplice",
    "inotify_add_watch", "timerfd_settime", "flock", "pidfd_send_signal", "fchdir",
    "copy_file_range", "sendfile",
})  # fmt: skip


@functools.cache
def names() -> dict[int, str]:
    """Number -> name on this processor, as the kernel's headers have them."""
    done = subprocess.run(
        ["cc", "-E", "-dM", "-"], input=b"#include <asm/unistd.h>\n", capture_output=True,
        check=True, timeout=60,
    )  # fmt: skip
    found = re.findall(rb"#define __NR_(\w+) (\d+)\n", done.stdout)
    return {int(number): name.decode() for name, number in found}


def kind_of(target: str) -> str:
    """What an fd is, by what /proc/PID/fd says."""
    for start, kind in (("pipe:", "pipe"), ("socket:", "socket"), ("anon_inode:", "anon")):
        if target.startswith(start):
            return kind
    if target.startswith(("/dev/pt", "/dev/tty")):
        return "tty"
    if target.startswith("/proc/"):
        return "proc"
    if target.startswith("/memfd:"):
        return "memfd"
    return "null" if target == "/dev/null" else "file"


def _fd_target(pid: int, fd: int) -> str:
    try:
        target = os.readlink(f"/proc/{pid}/fd/{fd & 0xFFFFFFFF}")
    except OSError:
        return "?"
    if target.startswith("/") and kind_of(target) == "file":
        try:
            mode = os.stat(f"/proc/{pid}/fd/{fd & 0xFFFFFFFF}").st_mode
        except OSError:
            return target
        if mode & 0o170000 == 0o010000:
            return "pipe:" + target
    return re.sub(r":\[\d+\]", ":", target)


def _blocks(pid: int, fd: int) -> bool:
    try:
        info = Path(f"/proc/{pid}/fdinfo/{fd & 0xFFFFFFFF}").read_text()
    except OSError:
        return False
    flags = re.search(r"^flags:\s*(\d+)", info, re.MULTILINE)
    return flags is not None and not int(flags[1], 8) & os.O_NONBLOCK


def plain(text: str) -> str:
    """Without what differs from one session to the next: pids, fds, random endings of names."""
    text = re.sub(r"/sys/fs/cgroup/.*/", "/sys/fs/cgroup/N/", text)
    text = re.sub(r"/proc/self/fd/\d+", "/proc/self/fd/N", text)
    return re.sub(r"\d{4,}|(?<=\.)\w{6}$", "N", text)


def _text(pid: int, address: int) -> str:
    try:
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            memory.seek(address)
            data = memory.read(256)
    except (OSError, ValueError, OverflowError):
        return "?"
    return os.fsdecode(data.partition(b"\0")[0])


def describe(pid: int, name: str, arguments: tuple[int, ...], root: str) -> tuple[str, str]:
    """The key of a call in the table, and what the call is about, in words.

    The key is `name` or `name:kind`; `name:kind:blocks` where the call waits as it should.
    """
    key, words = name, []
    if name in _FD_FIRST:
        target = _fd_target(pid, arguments[0])
        key = f"{name}:{kind_of(target)}"
        words.append(target)
        if name in ("read", "write", "readv", "writev") and _blocks(pid, arguments[0]):
            key += ":blocks"
    if name in _FLAGS and not arguments[_FLAGS[name]] & (
        os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY
    ):
        key = f"{name}:old"
    if name in _OPTIONS and arguments[_OPTIONS[name]] & os.WNOHANG:
        key = f"{name}:WNOHANG"
    if name == "fcntl":
        key = f"fcntl:{_FCNTL.get(arguments[1], 'other')}"
        words.append(key.partition(":")[2])
    elif name == "ioctl":
        words.append(hex(arguments[1]))
    elif name == "epoll_ctl":
        words.append(_fd_target(pid, arguments[2]))
    elif name in _SHOWN:
        words.append(" ".join(hex(arguments[at]) for at in _SHOWN[name]))
    if name in _PATH_AT:
        words.append(_text(pid, arguments[_PATH_AT[name]]))
    text = " ".join(words).replace(root, "")
    return key, plain(text)


def named(pid: int, name: str, arguments: tuple[int, ...]) -> str:
    """The absolute name that a call is given, or ""; of two the new one. Links are not followed."""
    if name in ("bind", "connect"):
        text = _unix_name(pid, arguments[1], arguments[2])
        base = ""
    elif name in _PATH_AT and name not in ("execve", "memfd_create"):
        at = _PATH_AT[name]
        text = _text(pid, arguments[at])
        base = f"/fd/{arguments[at - 1]}" if name.endswith(("at", "at2", "statx")) else ""
    else:
        return ""
    if not text or text == "?":
        return ""
    text = re.sub(r"^/proc/self/", f"/proc/{pid}/", text)
    if not text.startswith("/"):
        text = f"/proc/{pid}{base or '/cwd'}/{text}"
    directory, last = os.path.split(text)
    return os.path.join(os.path.realpath(directory), last)


def _unix_name(pid: int, address: int, size: int) -> str:
    """The path in a struct sockaddr_un, unix(7)."""
    try:
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            memory.seek(address)
            data = memory.read(min(size, 110))
    except (OSError, ValueError, OverflowError):
        return ""
    if data[:2] != b"\1\0" or data[2:3] == b"\0":
        return ""
    return os.fsdecode(data[2:].partition(b"\0")[0])


@functools.cache
def _table() -> dict[str, list[str]]:
    return {key: str(value).split() for key, value in tomllib.loads(_TABLE.read_text()).items()}


def errors(key: str) -> list[str] | None:
    """The names of the errors to try; None for a call that the table does not know."""
    table = _table()
    base, blocks = key.removesuffix(":blocks"), key.endswith(":blocks")
    found = table.get(base, table.get(base.partition(":")[0]))
    if found is None:
        return None
    assert all(hasattr(errno, each) for each in found), (key, found)
    return [each for each in found if not (blocks and each == "EAGAIN")]
