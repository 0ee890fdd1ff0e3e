"""A guest with a kernel of its own: Linux with cgroup v2, as a process (user-mode Linux).

It boots on this machine's own files in two seconds. Its root is read-only, so that the guest's
root cannot harm the machine; guest_init.py is its PID 1.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from .client import CONTAINERS_CONF, PATH, STORAGE_CONF
from .guest_init import ENGINE, PERSIST, WORK
from .image import build_image

KERNEL = "linux.uml"
INIT = Path(__file__).with_name("guest_init.py")
GUEST_S = 400  # seconds until it is given up
OFF_S = 10  # and, once its result is there, until it is switched off
NETWORK_CONF = f"""
[network]
network_config_dir = "{ENGINE}/networks"
"""

# podman 4 gives its monitors no persist directory, as later versions do, which remove it: so it
# leads here. `session` marks those of exec sessions, which have an id of their own.
CONMON = f"""\
#!/bin/sh
id= exec= persist= next=
for word; do
    case $next in
        -u) id=$word ;;
        --persist-dir) persist=$word ;;
    esac
    [ "$word" != -e ] || exec=yes
    next=$word
done
[ -n "$id" ] || exec {WORK}/conmon "$@"
mkdir {PERSIST}/$id
[ -z "$exec" ] || : >{PERSIST}/$id/session
if [ -n "$persist" ]; then
    rmdir $persist
    ln -s {PERSIST}/$id $persist
    exec {WORK}/conmon "$@"
fi
exec {WORK}/conmon --persist-dir {PERSIST}/$id "$@"
"""


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def run_guest(conmon: Path, work: Path) -> dict[str, Any]:
    """Boot the guest, have it run its containers, and return what it wrote to result.json.

    ``work`` is an empty directory for all its files. Raises RuntimeError, with what the guest
    said on its console, when it has left no result.
    """
    shutil.copy(conmon, work / "conmon")
    build_image(work / "image.tar")
    with (work / "large").open("wb") as large:
        large.truncate(60 << 20)
    _write_program(work / "podman-conmon", CONMON)
    _write_program(work / "init", f"#!/bin/sh\nexec {sys.executable} -IS {INIT} {work}\n")
    engine = CONTAINERS_CONF.format(runtime="crun", conmon=WORK / "podman-conmon", dir=ENGINE)
    (work / "containers.conf").write_text(engine + NETWORK_CONF)
    storage = STORAGE_CONF.format(driver="vfs", place="graphroot", dir=ENGINE)
    (work / "storage.conf").write_text(storage)
    environment = {
        "PATH": PATH,
        "HOME": str(ENGINE),
        "CONTAINERS_CONF": str(WORK / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(WORK / "storage.conf"),
    }
    (work / "environment.json").write_text(json.dumps(environment))
    kernel = [
        *(KERNEL, "mem=1G", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
        *(f"init={work}/init", "con=null", "con0=fd:0,fd:1", "quiet", f"uml_dir={work}"),
    ]
    console = work / "console"
    file = work / "result.json"
    with console.open("wb") as out, _kernel(kernel, out) as process:
        deadline = time.monotonic() + GUEST_S
        while process.poll() is None and not file.exists() and time.monotonic() < deadline:
            time.sleep(0.5)  # polled: the guest's writes are hostfs's
        with contextlib.suppress(subprocess.TimeoutExpired):  # some never switch themselves off
            process.wait(OFF_S)
        process.kill()
    try:
        result: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        said = console.read_text(errors="replace")
        raise RuntimeError(f"the guest left no result: {said}") from error
    return result


def _kernel(kernel: list[str], console: BinaryIO) -> subprocess.Popen[bytes]:
    """Start it. Its processes are ones of this machine: in a PID namespace none outlives it."""
    return subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *kernel],
        stdin=subprocess.DEVNULL,
        stdout=console,
        stderr=subprocess.STDOUT,
    )
