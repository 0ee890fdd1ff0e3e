"""What a container watcher reports."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class EventType(enum.IntEnum):
    """Kind of a container event; the numbers are those of Inspektor Gadget's containerhook."""

    ADD_CONTAINER = 0
    REMOVE_CONTAINER = 1
    PRE_CREATE_CONTAINER = 2


class Source(enum.StrEnum):
    """What told of the event."""

    #: a runtime that was held in execve(2), and the end of its process
    EXEC = "exec"
    #: a runtime's state directory
    STATE = "state"
    #: the monitor of a container that was there already
    MONITOR = "monitor"
    #: the container's pidfd
    PIDFD = "pidfd"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEvent:
    """One event in the life of one container.

    Texts are empty, numbers 0 and other values None where a thing is not known. Bytes of a command
    line or file that are not UTF-8 stand as surrogate escapes (PEP 383).
    """

    type: EventType
    container_id: str
    #: from the monitor's `--name`, else from annotations of config.json
    container_name: str = ""
    #: of the container's first process, as seen in the watcher's PID namespace
    container_pid: int = 0
    #: config.json of the bundle, parsed (OCI runtime specification, "Configuration"); None in
    #: REMOVE_CONTAINER, and where it is not valid or larger than 16 MiB
    container_config: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    #: absolute path, as the runtime's mount namespace has it
    bundle: str = ""

    #: 0 to 255, or 128 plus the number of the signal; REMOVE_CONTAINER only, None if not known
    exit_status: int | None = None
    #: the signal that ended the container, None if none did
    exit_signal: int | None = None
    #: of container_pid, in clock ticks since boot (field 22 of proc(5) stat)
    start_time: int | None = None
    #: file of the runtime that was executed
    runtime: str = ""
    #: as on the runtime's command line, made absolute
    pid_file: str = ""
    #: pid of the monitor (conmon) that called the runtime
    conmon_pid: int = 0
    #: effective user id of who called the runtime: command lines of other users may claim anything
    uid: int | None = None
    source: Source = Source.EXEC
    #: True: when the callback was called, the container's entry point had not been run, and will
    #: not be before the callback returns or its time is over. False says nothing of this kind.
    paused: bool = False
    #: CLOCK_MONOTONIC, when the event was noticed, ns
    mono_ns: int = 0
    #: CLOCK_REALTIME, when the event was noticed, ns since 1970
    wall_ns: int = 0
