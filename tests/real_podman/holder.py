"""PID 1 of the namespaces in which the integration tests run podman.

Run as ``unshare --mount --pid --fork --propagation private python3 holder.py``.
It prepares the mounts, prints its pid as the outside sees it, then reaps orphans until
its stdin closes. When it ends, the kernel ends every process and every mount made inside:
whatever a failed test left behind goes with it.

An init that reaps at once matters: podman takes a monitor that is still a zombie for a
live one and waits up to 20 s for it.
"""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

UNIFIED = Path("/sys/fs/cgroup/unified")


def mount(*args: str) -> None:
    subprocess.run(["mount", *args], check=True)


def is_mount(path: Path) -> bool:
    """True where /proc/self/mounts has ``path`` as a mount point."""
    points = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    return str(path) in points


def prepare_mounts() -> None:
    resolv = Path("/etc/resolv.conf")
    content = resolv.read_bytes() if resolv.exists() else b""
    mount("-t", "proc", "proc", "/proc")
    if is_mount(UNIFIED):
        # crun refuses cgroup v1 with a v2 mount beside it.
        subprocess.run(["umount", str(UNIFIED)], check=True)
    # podman's locks, the runtimes' state and the image cache are kept off the host.
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    Path("/run/lock").mkdir(mode=0o1777)
    Path("/var/lib/containers").mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", "mode=700", "tmpfs", "/var/lib/containers")
    if not resolv.exists():
        # It is a link into /run on systems with systemd-resolved.
        target = resolv.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    # Rootless podman warns on stderr, in every command, when / is not shared. These peers
    # are all inside this namespace.
    mount("--make-rshared", "/")


def reap_until_eof() -> None:
    wake_r, wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_w)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        ready, _, _ = select.select([0, wake_r], [], [])
        if wake_r in ready:
            os.read(wake_r, 4096)
        if 0 in ready and not os.read(0, 4096):
            return


def main() -> int:
    outer_pid = os.readlink("/proc/self")  # still the /proc of the outside
    prepare_mounts()
    print(outer_pid, flush=True)
    reap_until_eof()
    return 0


if __name__ == "__main__":
    sys.exit(main())
