"""What the monitor may not do once it reads what others choose (docs/security.md).

Each denied call is made in the running monitor, from outside; and in one without a sandbox, where
the kernel has to answer otherwise, or the test would say nothing.
"""

from __future__ import annotations

import errno
import mmap
import os
import platform
import re
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from faults.ptrace import known_processor
from harness import Container
from harness_counters import read_counters, wait_counters
from harness_inject import call_number, puppet
from harness_os import Deadline
from harness_rooms import STANDIN
from harness_syslog import Syslog

pytestmark = [
    pytest.mark.ours("the C conmon gives nothing up"),
    pytest.mark.skipif(not known_processor(), reason="no filter is made for this processor"),
]

NO_NEW_PRIVS, CAPABILITIES, LANDLOCK, SECCOMP = 1, 2, 4, 8
AT_FDCWD = -100
CLONE_FS, CLONE_NEWNS, CLONE_NEWUSER = 0x200, 0x20000, 0x10000000
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
X32 = 1 << 30
READ, WRITE, EXECUTE = mmap.PROT_READ, mmap.PROT_WRITE, mmap.PROT_EXEC
FREE = 0x10_0000_0000  # an address where nothing is

#: Name -> call and arguments, which are such that a kernel that allows the call says something
#: else than EPERM or ENOSYS, and that nothing comes of it.
DENIED: dict[str, tuple[str, tuple[int | bytes, ...]]] = {
    "execve": ("execve", (0,)),
    "execveat": ("execveat", (-1, 0)),
    "ptrace": ("ptrace", (16, 0)),
    "process_vm_readv": ("process_vm_readv", (0,)),
    "process_vm_writev": ("process_vm_writev", (0,)),
    "pidfd_getfd": ("pidfd_getfd", (-1, 0, 0)),
    "mount": ("mount", (0,)),
    "umount2": ("umount2", (0,)),
    "pivot_root": ("pivot_root", (0,)),
    "chroot": ("chroot", (0,)),
    "chdir": ("chdir", (0,)),
    "open_tree": ("open_tree", (-1, 0, 0)),
    "fsopen": ("fsopen", (0,)),
    "unshare": ("unshare", (1,)),
    "setns": ("setns", (-1, 0)),
    "setuid": ("setuid", (0,)),
    "setgid": ("setgid", (0,)),
    "setresuid": ("setresuid", (-1, -1, -1)),
    "setgroups": ("setgroups", (-1, 0)),
    "capset": ("capset", (0,)),
    "prctl": ("prctl", (3,)),
    "seccomp": ("seccomp", (99,)),
    "bpf": ("bpf", (-1, 0, 0)),
    "perf_event_open": ("perf_event_open", (0,)),
    "userfaultfd": ("userfaultfd", (-1,)),
    "io_uring_setup": ("io_uring_setup", (0,)),
    "keyctl": ("keyctl", (-1,)),
    "add_key": ("add_key", (0,)),
    "init_module": ("init_module", (0,)),
    "kexec_load": ("kexec_load", (0, 99, 0, 0)),
    "reboot": ("reboot", (0,)),
    "sethostname": ("sethostname", (0, 1)),
    "mknodat": ("mknodat", (-1, 0)),
    "mkdirat": ("mkdirat", (-1, 0)),
    "symlinkat": ("symlinkat", (0,)),
    "fchmodat": ("fchmodat", (-1, 0)),
    "fchownat": ("fchownat", (-1, 0)),
    "setxattr": ("setxattr", (0,)),
    "open_by_handle_at": ("open_by_handle_at", (-1, 0)),
    "getdents64": ("getdents64", (-1, 0)),
    "inotify_init1": ("inotify_init1", (-1,)),
    "fanotify_init": ("fanotify_init", (-1, 0)),
    "dup3": ("dup3", (-1, -1)),
    "bind": ("bind", (-1, 0)),
    "listen": ("listen", (-1, 0)),
    "socketpair": ("socketpair", (socket.AF_UNIX, socket.SOCK_STREAM, 0, 0)),
    "socket AF_INET": ("socket", (socket.AF_INET, socket.SOCK_STREAM)),
    "socket AF_INET6": ("socket", (socket.AF_INET6, socket.SOCK_STREAM)),
    "socket AF_NETLINK": ("socket", (socket.AF_NETLINK, socket.SOCK_RAW)),
    "socket AF_PACKET": ("socket", (socket.AF_PACKET, socket.SOCK_RAW)),
    "socket of a stream": ("socket", (socket.AF_UNIX, socket.SOCK_STREAM)),
    "socket of packets": ("socket", (socket.AF_UNIX, socket.SOCK_SEQPACKET)),
    "sendto that connects": ("sendto", (-1, 0, 0, socket.MSG_FASTOPEN, 0, 0)),
    "sendmsg that connects": ("sendmsg", (-1, 0, socket.MSG_FASTOPEN)),
    "sendmmsg that connects": ("sendmmsg", (-1, 0, 0, socket.MSG_FASTOPEN)),
    "fchmod to another mode": ("fchmod", (-1, 0o4755)),
    "munmap below 4 GiB": ("munmap", (1 << 16, 4096)),  # where nothing is
    "clone into a user namespace": ("clone", (CLONE_NEWUSER | CLONE_FS,)),
    "clone of a mount namespace": ("clone", (CLONE_NEWNS | CLONE_FS,)),
    "clone3": ("clone3", (0, 0)),
    "kill of another": ("kill", (1, 0)),
    "kill of all": ("kill", (-1, -1)),
    "tgkill of another": ("tgkill", (1, 1, 0)),
    "pidfd_open of another": ("pidfd_open", (1, -1)),
    "pidfd_send_signal": ("pidfd_send_signal", (-1, signal.SIGTERM)),
    "setpgid": ("setpgid", (-1, 0)),
    "sched_setscheduler": ("sched_setscheduler", (-1, 0)),
    "ioctl TIOCSTI": ("ioctl", (-1, 0x5412, 0)),
    "fcntl F_SETOWN": ("fcntl", (-1, 8, 0)),
    "prlimit64 that sets": ("prlimit64", (0, 99, b"\0" * 16)),
    "mmap of code": ("mmap", (0, 4096, READ | EXECUTE, PRIVATE, -1)),
    "mmap at an address": ("mmap", (FREE, 4096, READ | WRITE, PRIVATE, -1)),
    "mprotect to code": ("mprotect", (FREE, 4096, READ | EXECUTE)),
    "mprotect to writable": ("mprotect", (FREE, 4096, READ | WRITE)),
    "mremap to an address": ("mremap", (FREE, 4096, 4096, 3, FREE)),
    "remap_file_pages": ("remap_file_pages", (FREE, 4096, 0)),
    "pkey_mprotect": ("pkey_mprotect", (FREE, 4096, READ | EXECUTE, -1)),
}  # fmt: skip


def launch(container: Container, *extra: str, wrapper: Sequence[str] = ()) -> int:
    """A container that ends with 7 when it is told to; its pid. The monitor is in its loop."""
    container.fifo("go")
    container.command("read -r _ <go; exit 7")
    container.launch(*extra, wrapper=wrapper)
    pid = container.started()
    deadline = Deadline()
    # it is there that the interpreter is closed and the buffers are given back
    while not Path(f"/proc/{container.monitor.pid}/wchan").read_text().startswith(("ep_", "do_ep")):
        assert not deadline.passed(), container.state()
        time.sleep(0.002)
    return pid


def finish(container: Container) -> None:
    """The end, whose code arrives whatever was tried before."""
    container.open_fifo(container.bundle / "go")
    assert container.end() == 7
    assert container.persist_exit.read_bytes() == b"7"


def refused(answer: int) -> bool:
    return answer in (-errno.EPERM, -errno.ENOSYS)


@pytest.mark.parametrize("what", DENIED)
def test_denied(container: Container, what: str) -> None:
    """Security: no call that the monitor has no use for, and none with other arguments."""
    name, arguments = DENIED[what]
    number = call_number(name)
    if number is None:
        pytest.skip("this processor has no such call")
    launch(container, "--sandbox=strict")
    with puppet(container.monitor.pid) as monitor:
        answer = monitor.attempt(number, *arguments)
    assert refused(answer), answer
    finish(container)


def test_denials_come_from_the_filter(container: Container) -> None:
    """The calls of `test_denied` are answered otherwise where there is no filter."""
    if os.geteuid() != 0:
        pytest.skip("others are refused most of these anyway")
    launch(container, "--sandbox=off")
    unknown = []
    with puppet(container.monitor.pid) as monitor:
        for what, (name, arguments) in DENIED.items():
            number = call_number(name)
            if number is not None and refused(monitor.attempt(number, *arguments)):
                unknown.append(what)
    # what a machine may lack, or refuse to everybody
    assert set(unknown) <= {
        "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "keyctl", "add_key",
        "init_module", "kexec_load", "reboot", "pkey_mprotect", "kill of all",
    }, unknown  # fmt: skip
    finish(container)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 is x86-64's")
def test_x32(container: Container) -> None:
    """Security: x32's calls, which some kernels of x86-64 have, are none of those in the table."""
    launch(container, "--sandbox=strict")
    with puppet(container.monitor.pid) as monitor:
        assert refused(monitor.attempt(X32 | 39))  # getpid
        assert monitor.attempt(39) == container.monitor.pid
    finish(container)


def test_code_cannot_be_written(container: Container) -> None:
    """Security: the interpreter's code can be opened for reading and running, as a whole, and not
    for writing; its place can have nothing else."""
    launch(container, "--sandbox=strict")
    deadline = Deadline()
    while len(closed := closed_mappings(container.monitor.pid)) < 2:  # data, then code
        if Path(f"/proc/{container.monitor.pid}/exe").readlink().name != "conmon":
            pytest.skip("this conmon has no image of the interpreter")
        assert not deadline.passed(), container.state()
        time.sleep(0.002)
    number = call_number("mprotect")
    assert number is not None
    with puppet(container.monitor.pid) as monitor:
        for start, size in closed:
            for mode in (READ | WRITE | EXECUTE, WRITE | EXECUTE):
                assert refused(monitor.attempt(number, start, size, mode))
            for mode in (READ | WRITE, READ | EXECUTE):
                assert refused(monitor.attempt(number, start, 4096, mode))
        # of data and code, one may be made writable and the other one run
        for mode in (READ | WRITE, READ | EXECUTE):
            assert sum(monitor.attempt(number, *one, mode) == 0 for one in closed) == 1
    finish(container)


def closed_mappings(pid: int) -> list[tuple[int, int]]:
    """Start and size of what is mapped from the program and closed."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, mode, _, _, inode, *_ = line.split()
        if mode == "---p" and inode != "0":
            start, _, end = addresses.partition("-")
            found.append((int(start, 16), int(end, 16) - int(start, 16)))
    return found


def test_files_elsewhere(container: Container) -> None:
    """Security: nothing is written, made or removed but below the directories above those of
    bundle, exit files and log; the monitor's own memory is no file for it to write to."""
    launch(container, "--sandbox=strict")
    opening, removing = call_number("openat"), call_number("unlinkat")
    assert opening is not None and removing is not None
    outside = container.root.parent / f"{container.root.name}-outside"
    outside.write_bytes(b"")
    create, write = os.O_CREAT | os.O_WRONLY, os.O_WRONLY
    try:
        with puppet(container.monitor.pid) as monitor:
            for path, flags in (
                (bytes(outside), write),
                (bytes(outside) + b"2", create),
                (b"/proc/self/mem", write),
                (b"/proc/self/mem", os.O_RDWR),
                (b"/dev/null", write),
            ):
                answer = monitor.attempt(opening, AT_FDCWD, path + b"\0", flags, 0o600)
                assert answer == -errno.EACCES, path
            answer = monitor.attempt(removing, AT_FDCWD, bytes(outside) + b"\0", 0)
            assert answer == -errno.EACCES
            path = bytes(container.bundle) + b"/mine\0"
            assert monitor.attempt(opening, AT_FDCWD, path, create, 0o600) >= 0
            assert monitor.attempt(removing, AT_FDCWD, path, 0) == 0
        finish(container)
    finally:
        outside.unlink()


def test_tcp_on_a_socket_of_the_caller(container: Container) -> None:
    """Security: a socket that the caller passed for the container is connected to nothing."""
    number = call_number("connect")
    assert number is not None
    with socket.socket() as listener, socket.socket() as passed:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = struct.pack("=H", socket.AF_INET) + struct.pack(
            ">HI8x", listener.getsockname()[1], 0x7F000001
        )
        container.fifo("go")
        container.command("read -r _ <go; exit 7")
        container.launch("--sandbox=strict", pass_fds=[passed.fileno()])
        container.started()
        wait_for(container, SECCOMP)
        with puppet(container.monitor.pid) as monitor:
            answer = monitor.attempt(number, passed.fileno(), address, len(address))
        assert answer == -errno.EACCES
        finish(container)


def wait_for(container: Container, bit: int) -> int:
    """Wait until the counters say that something was given up: all that was."""
    container.wait_name(container.bundle / "conmon-counters")
    wait_counters(container, lambda now: bool(now["sandbox"] & bit))
    return read_counters(container)["sandbox"]


def capabilities(pid: int) -> tuple[int, int]:
    """The effective and the permitted ones of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"^Cap(\w+):\t(\w+)$", text, re.MULTILINE))
    return int(found["Eff"], 16), int(found["Prm"], 16)


KEPT = {"DAC_OVERRIDE": 1, "DAC_READ_SEARCH": 2, "FOWNER": 3, "KILL": 5, "SYS_RESOURCE": 24}


@pytest.mark.parametrize("command", [False, True], ids=["for good", "with an exit command"])
def test_capabilities(container: Container, command: bool) -> None:
    """Security: the monitor keeps those for log, exit files and kill; the container's are not
    touched, and the exit command has what the caller has, for which it stays permitted."""
    seen = container.root / "tmp" / "seen"
    if command:
        container.allow("tmp/seen")
        container.options["--exit-command"] = "/bin/sh"
        container.options["--exit-command-arg"] = ["-c", f"cat /proc/self/status >{seen}"]
    pid = launch(container, "--sandbox=strict")
    wait_for(container, CAPABILITIES)
    kept = sum(1 << number for number in KEPT.values())
    before = capabilities(os.getpid())
    permitted = before[1] if command else before[1] & kept
    assert capabilities(container.monitor.pid) == (before[0] & kept, permitted)
    assert capabilities(pid) == before
    finish(container)
    if command:
        container.monitor.wait()
        own = Path("/proc/self/status").read_text()
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"):
            line = re.compile(rf"^{name}:.*$", re.MULTILINE)
            assert line.findall(seen.read_text()) == line.findall(own)


def test_what_is_on(container: Container) -> None:
    """Security: the counters tell what is on."""
    launch(container, "--sandbox=strict")
    assert wait_for(container, SECCOMP) == NO_NEW_PRIVS | CAPABILITIES | LANDLOCK | SECCOMP
    status = Path(f"/proc/{container.monitor.pid}/status").read_text()
    assert "NoNewPrivs:\t1\n" in status and "Seccomp:\t2\n" in status
    finish(container)


def test_off(container: Container) -> None:
    """Security: with `off` all is as it is with C conmon."""
    launch(container, "--sandbox=off")
    assert read_counters(container)["sandbox"] == 0
    status = Path(f"/proc/{container.monitor.pid}/status").read_text()
    assert "NoNewPrivs:\t0\n" in status and "Seccomp:\t0\n" in status
    assert capabilities(container.monitor.pid) == capabilities(os.getpid())
    finish(container)


def test_exit_command_is_not_filtered(container: Container) -> None:
    """C17: podman's exit command mounts and executes: nothing that it would inherit is put on."""
    container.exit_command("after")
    launch(container, "--sandbox=strict")
    assert wait_for(container, CAPABILITIES) == CAPABILITIES
    status = Path(f"/proc/{container.monitor.pid}/status").read_text()
    assert "NoNewPrivs:\t0\n" in status and "Seccomp:\t0\n" in status
    finish(container)


REFUSED = str(STANDIN / "no-seccomp")


def test_strict_where_the_kernel_refuses(container: Container) -> None:
    """C4: `strict` is refused in words before the runtime is started."""
    container.command("exit 7")
    container.launch("--sandbox=strict", wrapper=[REFUSED])
    text = "The kernel refuses what --sandbox=strict needs: Landlock, seccomp"
    assert container.report() == {"data": -1, "message": text}
    assert text in container.stderr.decode()
    assert not container.seen.exists()
    assert container.nothing_runs()


def test_auto_where_the_kernel_refuses(container: Container) -> None:
    """Security: `auto`, the default, does without what the kernel refuses, and says so in the
    counters."""
    container.options.pop("--sandbox", None)
    container.fifo("go")
    container.command("read -r _ <go; exit 7")
    container.launch(wrapper=[REFUSED])
    container.started()
    assert wait_for(container, CAPABILITIES) == NO_NEW_PRIVS | CAPABILITIES
    finish(container)


def test_timeout_of_a_group(container: Container) -> None:
    """C17.4: the container's group can be killed, and nothing else."""
    container.command("sleep 1000 & exec sleep 1000")
    container.launch("--sandbox=strict", "--timeout", "1")
    container.started()
    assert container.end() == -1
    assert container.nothing_runs()


#: Becomes the rest of its arguments, with a filter that ends whoever makes that system call.
KILLING = """
import ctypes, os, struct, sys
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, int(sys.argv[1]))]  # load the number; is it that one?
steps += [(6, 0, 0, 0x80000000), (6, 0, 0, 0x7FFF0000)]  # SECCOMP_RET_KILL_PROCESS, _ALLOW
code = b"".join(struct.pack("=HBBI", *step) for step in steps)
buffer = ctypes.create_string_buffer(code)
program = struct.pack("@HP", len(steps), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()  # PR_SET_SECCOMP
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="others cannot make a directory next to the root")
def test_log_next_to_the_root(container: Container) -> None:
    """Security: where a directory that is held is the root, Landlock would deny nothing."""
    log = Path(f"/{container.root.name}.log")
    container.options["-l"] = f"k8s-file:{log}"
    try:
        container.command("exit 7")
        container.launch("--sandbox=strict", "--log-rotate")
        report = container.report()
        assert report["data"] == -1 and "Landlock" in str(report["message"])
        assert container.parent_status() == 1
    finally:
        log.unlink(missing_ok=True)


def test_exit_directory_that_was_a_link(container: Container) -> None:
    """C17.8: a directory that takes the place of a link gets the exit file."""
    real = container.root / "tmp" / "deep" / "exits"
    real.mkdir(parents=True)
    link = container.root / "tmp" / "exits"
    link.symlink_to(real)
    container.allow("tmp/deep", "tmp/exits")
    container.options["--exit-dir"] = str(link)
    launch(container, "--sandbox=strict")
    wait_for(container, SECCOMP)
    link.unlink()
    link.mkdir()
    container.open_fifo(container.bundle / "go")
    container.monitor.wait()
    (written,) = link.iterdir()
    assert written.read_bytes() == b"7"
    shutil.rmtree(container.root / "tmp" / "deep")
    shutil.rmtree(link)


def test_filter_of_the_caller_that_kills(container: Container) -> None:
    """Security: a filter that ends who asks for a filter costs the sandbox, and no exit code."""
    syslog = Syslog(container)
    filtered = [sys.executable, "-I", "-S", "-c", KILLING, str(call_number("landlock_add_rule"))]
    container.options["--log-level"] = "debug"
    launch(container, "--syslog", wrapper=[*syslog.wrapper, *filtered])
    syslog.until(b"No sandbox: the filter that conmon has would end it")
    assert read_counters(container)["sandbox"] == 0
    finish(container)
