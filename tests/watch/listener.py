"""A notifier in a process of its own, for tests that stop or kill it.

    python listener.py RUNTIME TIMEOUT_S [hang] [fork]

Writes a line for each event: its type, the container id, and whether it is paused. With "hang" the
callback then never returns; with "fork" another process has all its fds. It ends with its stdin.
"""

from __future__ import annotations

import os
import sys
import threading

from conmon.watch import ContainerEvent, ContainerNotifier


def main(runtime: str, timeout_s: str, hang: str = "", fork: str = "") -> None:
    def tell(event: ContainerEvent) -> None:
        print(event.type.name, event.container_id, event.paused, flush=True)
        if hang:
            threading.Event().wait()

    notifier = ContainerNotifier(
        tell, runtime_paths=[runtime], callback_timeout=float(timeout_s), mode="hold"
    )
    if fork and os.fork() == 0:
        os.close(1)
        os.read(0, 1)
        os._exit(0)
    print("ready", notifier.helper_pid, flush=True)
    sys.stdin.read()


main(*sys.argv[1:])
