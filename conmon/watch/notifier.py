"""ContainerNotifier: tells of containers on this host, whichever engine starts them."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from conmon.watch import bundles
from conmon.watch.events import ContainerEvent, EventType
from conmon.watch.link import Decoder, Message, encode, receive

log = logging.getLogger(__name__)

Callback = Callable[[ContainerEvent], object]

_PACKAGES = str(Path(__file__).resolve().parent.parent.parent)


class ContainerNotifier:
    """Minimal."""

    def __init__(
        self,
        callback: Callback,
        *,
        runtime_paths: Sequence[str | os.PathLike[str]],
        callback_timeout: float = 2.0,
        pre_create: bool = False,
    ) -> None:
        self._callback = callback
        self._decoder = Decoder()
        self._stream, theirs = socket.socketpair()
        with theirs:
            self._helper = subprocess.Popen(
                [sys.executable, "-P", "-m", "conmon.watch.helper", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": _PACKAGES},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        settings = {
            "runtime_paths": [os.fspath(path) for path in runtime_paths],
            "timeout_ns": int(callback_timeout * 1e9),
            "pre_create": pre_create,
        }
        self._stream.sendall(encode(settings))
        messages = receive(self._stream, self._decoder)
        if not messages:
            raise OSError("The helper process has ended")
        self._thread = threading.Thread(target=self._run, name="container-notifier", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (messages := receive(self._stream, self._decoder)) is not None:
            for message in messages:
                if message["kind"] == "event":
                    self._deliver(message)

    def _deliver(self, message: Message) -> None:
        fields = message["event"]
        kind = EventType(fields.pop("type"))
        event = ContainerEvent(
            type=kind,
            container_config=bundles.parse_config(message["config"]),
            paused=time.monotonic_ns() < message["deadline_ns"],
            **fields,
        )
        try:
            self._callback(event)
        except Exception:
            log.exception("The callback failed for %s of %s", kind.name, event.container_id)
        if message["hold"]:
            self._stream.sendall(encode({"kind": "done", "hold": message["hold"]}))

    def close(self) -> None:
        """End."""
        self._stream.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._helper.wait()
        self._stream.close()

    def __enter__(self) -> ContainerNotifier:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
