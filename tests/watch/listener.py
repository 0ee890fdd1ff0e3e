"""A notifier in a process of its own, for tests that stop or kill it, or take its privileges.

    python listener.py RUNTIME TIMEOUT_S [WORD...]

Its first line has the pid of its helper and the mode. Then it writes a line for each event: its
type, the container id, its pid, and whether it is paused. With the word "hang" the callback then
never returns; with "fork" another process has all its fds. Other words are the mode. It ends with
its stdin.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

from conmon.watch import ContainerEvent, ContainerNotifier


def main(runtime: str, timeout_s: str, *words: str) -> None:
    room = Path(runtime).parent.parent
    ready = threading.Event()

    def tell(event: ContainerEvent) -> None:
        ready.wait()
        # others may run containers on this host at the same time
        if event.bundle and room not in Path(event.bundle).parents:
            return
        print(event.type.name, event.container_id, event.container_pid, event.paused, flush=True)
        if "hang" in words:
            threading.Event().wait()

    modes: list[Any] = [word for word in words if word not in ("hang", "fork")]
    notifier = ContainerNotifier(
        tell,
        runtime_paths=[runtime],
        callback_timeout=float(timeout_s),
        mode=modes[0] if modes else "hold",
    )
    if "fork" in words and os.fork() == 0:
        os.close(1)
        os.read(0, 1)
        os._exit(0)
    print(notifier.helper_pid, notifier.mode, flush=True)
    ready.set()
    sys.stdin.read()
    notifier.close()


main(*sys.argv[1:])
