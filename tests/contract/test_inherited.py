"""C4.16, C17, C20.18: what runtime, container and exit command inherit is what conmon was given.

The caller has a peculiar one of everything that a process hands on (`CALLER`). Whoever is started
by conmon, directly or by the runtime, has the same, but for what is listed here with its reason.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from harness import Container
from harness_rooms import STANDIN

Inherited = dict[str, Any]

PROBE = [sys.executable, "-I", "-S", str(STANDIN / "inherited")]

#: Makes the caller peculiar, tells what it has, and becomes conmon.
CALLER = """
import ctypes, os, resource, signal, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (777, 888))
resource.setrlimit(resource.RLIMIT_CORE, (4096, 8192))
resource.setrlimit(resource.RLIMIT_STACK, (16 << 20, 32 << 20))
os.nice(3)
os.umask(0o027)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
libc = ctypes.CDLL(None)
libc.prctl(29, 70_000, 0, 0, 0)  # PR_SET_TIMERSLACK, ns
libc.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("123")
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
signal.signal(signal.SIGURG, signal.SIG_IGN)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def peculiar(container: Container) -> list[str]:
    """The wrapper of a conmon whose caller tells what it has."""
    found = container.root / "run" / "caller"
    container.allow("run/caller")
    return [sys.executable, "-I", "-S", "-c", CALLER, *PROBE, str(found)]


def inherited(container: Container, name: str) -> Inherited:
    found: Inherited = json.loads((container.root / "run" / name).read_bytes())
    return found


def differing(container: Container, name: str) -> Inherited:
    """What somebody has that the caller had otherwise."""
    given, found = inherited(container, "caller"), inherited(container, name)
    assert found.keys() == given.keys()
    return {key: value for key, value in found.items() if value != given[key]}


def launch_probed(container: Container) -> None:
    """A session in which runtime, container and exit command tell what they have."""
    for name in ("runtime", "container", "exit-command"):
        container.allow(f"run/{name}")
    runtime = container.root / "tmp" / "runtime"
    container.allow("tmp/runtime")
    words = " ".join(PROBE)
    runtime.write_text(
        f'#!/bin/sh\nexec {words} {container.root}/run/runtime {STANDIN}/runtime "$@"\n'
    )
    runtime.chmod(0o755)
    container.options["-r"] = str(runtime)
    container.options["--exit-command"] = PROBE[0]
    exit_command = [*PROBE[1:], str(container.root / "run" / "exit-command")]
    container.options["--exit-command-arg"] = exit_command
    container.command(f"exec {words} {container.root}/run/container")
    container.launch(wrapper=peculiar(container))
    container.started()
    container.monitor.wait()


PIPES = {"0": "/dev/null", "1": "pipe:", "2": "pipe:"}


def test_runtime(container: Container) -> None:
    """C4.16: the runtime has what conmon's caller has, and pipes for stdout and stderr."""
    launch_probed(container)
    differs = differing(container, "runtime")
    assert differs.pop("fds") == PIPES
    # the same for all callers (C4.1); and it does not outlive conmon
    assert differs == {"Umask": "0022", "PDEATHSIG": signal.SIGKILL}


def test_container(container: Container) -> None:
    """C4.16: so has the container, as far as its runtime does not change it."""
    launch_probed(container)
    differs = differing(container, "container")
    fds = differs.pop("fds")
    # the stand-in runtime keeps its gate, and the real stdin, at 7 to 9
    assert {number: fds[number] for number in ("0", "1", "2")} == PIPES
    assert set(fds) <= {"0", "1", "2", "7", "8", "9"}
    # the stand-in runtime is a shell, which ignores INT and QUIT for what is in the background
    given = int(inherited(container, "caller")["SigIgn"], 16)
    expected = given | 1 << signal.SIGINT - 1 | 1 << signal.SIGQUIT - 1
    assert differs == {"Umask": "0022", "SigIgn": f"{expected:x}"}


def test_exit_command(container: Container) -> None:
    """C17, C20.18: and the exit command, with nothing open but /dev/null."""
    launch_probed(container)
    differs = differing(container, "exit-command")
    fds = differs.pop("fds")
    assert fds == dict.fromkeys(("0", "1", "2"), "/dev/null")
    # no signal is blocked (C20.18)
    assert differs == {"Umask": "0022", "SigBlk": "0"}
