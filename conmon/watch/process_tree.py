"""ProcessTree: the processes of all containers of this host, kept from the kernel's events."""

from __future__ import annotations

import atexit
import dataclasses
import errno
import os
import select
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from conmon.watch.sources.audit_source import AuditSource
from conmon.watch.sources.proc_connector import ProcConnector
from conmon.watch.tree.containers import STATE_ROOTS
from conmon.watch.tree.events import ContainerInfo, ContainerTree, TreeEvent, TreeStats
from conmon.watch.tree.keeper import Source, TreeKeeper
from conmon.watch.tree.procfs import ProcFs
from conmon.watch.tree.stream import EventStream
from conmon.watch.tree.view import container_tree, members, replay

#: The inode of the initial pid namespace is fixed (PROC_PID_INIT_INO of linux/proc_ns.h).
_INITIAL_PIDS = "pid:[4026531836]"

#: In a storm, to wake for each event costs more than the event (26 instead of 35 µs per fork). So
#: after this many messages in this time there is a pause, in which more come: some 40 in the
#: worst storm, of the 20,000 that the socket holds.
_DENSE, _WINDOW_NS, _PAUSE_S = 64, 10_000_000, 0.001


class ProcessTree:
    """The trees of all containers. May be used by several threads.

    A thread of its own takes the events from the kernel as they come: what comes in from
    outside (an exec session) can be told from the rest of the host while it lives only.

    `source`: "proc" (the proc connector), "audit", or "auto", the first that can be had.
    `deletion_delay`: seconds that the dead are remembered for late children.
    `receive_buffer`: bytes; 8 MB hold some 20,000 events. `state_roots`: directories, as shell
    patterns, in which OCI runtimes keep their containers' states; `add_container` tells of
    others. Raises OSError that says what is missing; ValueError for an unknown source.
    """

    def __init__(
        self,
        source: str = "auto",
        *,
        deletion_delay: float = 1.0,
        receive_buffer: int = 8 << 20,
        state_roots: Iterable[str] = STATE_ROOTS,
    ) -> None:
        self._lock = threading.RLock()
        self._stream: EventStream | None = None
        self._error: BaseException | None = None
        self._closing = False
        if ProcFs().namespace("self", "pid") != _INITIAL_PIDS:
            raise PermissionError(
                errno.EPERM,
                "process events need the initial pid namespace: their pids are of there",
            )
        self._source = _open(source, receive_buffer)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._keeper = TreeKeeper(
                self._source, self._emit, delay=int(deletion_delay * 1e9), state_roots=state_roots
            )
            self._keeper.stats.receive_buffer = self._source.receive_buffer
            self._thread = threading.Thread(target=self._run, name="conmon-tree", daemon=True)
            self._thread.start()
            atexit.register(self.close)  # audit's settings are to be put back
        except BaseException:
            self._source.close()
            os.close(self._wake)
            raise

    def events(self, timeout: float | None = None, *, initial: bool = True) -> EventStream:
        """The events from now on, at most `timeout` seconds long.

        With `initial` they begin with a synthetic fork for each process that lives already,
        parents first, and a SyncEvent. There is one stream at a time; RuntimeError for a second.
        """
        with self._lock:
            if self._stream is not None:
                raise RuntimeError("there is a stream of events already")
            self._check()
            stream = EventStream(timeout, self._detach)
            if self._closing:
                stream.end()
                return stream
            self._keeper.settle()
            self._stream = stream
            if initial:
                keeper = self._keeper
                for event in replay(keeper.engine, keeper.look, time.monotonic_ns()):
                    stream.put(event)
                keeper.emit_sync()
            return stream

    def snapshot(self) -> tuple[ContainerTree, ...]:
        """All containers with the processes that live now; after `close`, that lived then."""
        with self._lock:
            self._check()
            keeper = self._keeper
            if not self._closing:
                keeper.settle()
                self._flush()
            return tuple(
                container_tree(container, nodes, keeper.engine, keeper.look)
                for container, nodes in members(keeper.engine).items()
            )

    def stats(self) -> TreeStats:
        """A copy of the counters."""
        with self._lock:
            self._check()
            if not self._closing:
                self._keeper.catch_up()
                self._flush()
            return dataclasses.replace(self._keeper.count())

    def add_container(self, info: ContainerInfo) -> None:
        """Take in a container that no runtime state tells of; its `pid` is that of its init.

        ProcessLookupError when that is gone, or `start` is not that of the pid.
        """
        if self.add_containers([info]):
            raise ProcessLookupError(f"container {info.id}: process {info.pid} is gone")

    def add_containers(self, infos: Iterable[ContainerInfo]) -> list[ContainerInfo]:
        """The same for several at once, which costs hardly more; those that are gone."""
        infos = list(infos)  # before the lock: it may take its time
        with self._lock:
            self._check()
            if self._closing:
                return infos
            gone = self._keeper.add_containers(infos)
            self._flush()
            return gone

    def fileno(self) -> int:
        """The source's socket, to look at it (`ss`, /proc/net/netlink); -1 after `close`."""
        return self._source.fileno()

    def close(self) -> None:
        """End it: the stream ends at once, the kernel forgets us. May be called again.

        Any thread may call it, but no signal handler: it waits for the tree's thread.
        """
        with self._lock:
            if self._closing:
                return
            self._closing = True
            stream = self._stream
            os.eventfd_write(self._wake, 1)
        if stream is not None:
            stream.end()
        atexit.unregister(self.close)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self) -> None:
        if self._error is not None:
            raise RuntimeError("the process tree has failed") from self._error

    def _emit(self, event: TreeEvent) -> None:
        if self._stream is not None and not self._stream.put(event):
            self._keeper.stats.dropped += 1

    def _flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def _detach(self, stream: EventStream) -> BaseException | None:
        with self._lock:
            if self._stream is stream:
                self._stream = None
            return self._error

    def _run(self) -> None:
        """The thread: wait, take what came, until closed."""
        try:
            self._loop()
        except BaseException as error:  # told to whoever asks next
            self._error = error
        finally:
            with self._lock:
                self._closing = True
                self._source.close()
                os.close(self._wake)
                if self._stream is not None:
                    self._stream.end()

    def _loop(self) -> None:
        poll = select.poll()
        poll.register(self._source.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        mark, mark_at = 0, 0
        while True:
            now = time.monotonic_ns()
            if now - mark_at > _WINDOW_NS:
                mark, mark_at = self._source.received, now
            elif self._source.received - mark >= _DENSE:
                time.sleep(_PAUSE_S)
            moment = self._keeper.next_moment()
            left = None if moment is None else max(0.0, (moment - time.monotonic_ns()) / 1e6)
            poll.poll(left)
            with self._lock:
                if self._closing:
                    return
                self._keeper.pump()
                self._flush()


def _open(source: str, receive_buffer: int) -> Source:
    if source == "proc":
        return ProcConnector(receive_buffer)
    if source == "audit":
        return AuditSource(receive_buffer)
    if source != "auto":
        raise ValueError(f"there is no source {source!r}, only auto, proc and audit")
    try:
        return ProcConnector(receive_buffer)
    except OSError as error:
        try:
            return AuditSource(receive_buffer)
        except OSError as other:
            raise PermissionError(
                errno.EPERM, f"no source of process events: {error.strerror}; {other.strerror}"
            ) from other
