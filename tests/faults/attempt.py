"""A try in a process of its own, with a bound on everything."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from harness import Guard

from faults import names, sessions
from faults.stage import BOUND_S, Facts, Gone, Hang, Stage
from faults.tracer import Fault

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_BOUND_S = 3 * BOUND_S + 10


def _room() -> Path:
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="faults-", dir=base))


def _remove(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    names.remove_outside(str(root))


UsualFds = dict[str, int] | None


Play = Callable[[Stage, sessions.Session], None]


def strictly(stage: Stage, session: sessions.Session) -> None:
    """Play a session that has to come to its end."""
    try:
        session.play(stage)
    except Gone:
        pass
    except Hang as hang:
        stage.note_hang(hang.args[0])
    except OSError:  # a fifo or file that conmon has not made
        stage.facts.client_end = traceback.format_exc(limit=-2)
    if not stage.facts.hang and not stage.facts.left:
        stage.end()


def _play(stage_of: Callable[[Guard], Stage], session: sessions.Session, play: Play) -> Facts:
    with Guard() as guard:
        stage = stage_of(guard)
        play(stage, session)
        stage.collect()
        stage.close()
    return stage.facts


def _in_child(
    stage_of: Callable[[Guard], Stage], session: sessions.Session, play: Play, write: int
) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)  # a campaign that is broken off leaves nothing
    begin = time.monotonic()
    try:
        facts = _play(stage_of, session, play)
    except BaseException:
        facts = Facts(broken=traceback.format_exc(limit=-3))
    facts.seconds = time.monotonic() - begin
    data = memoryview(json.dumps(asdict(facts)).encode())
    while data:
        data = data[os.write(write, data) :]


def attempt(
    conmon: Path,
    name: str,
    fault: Fault | None,
    usual_fds: UsualFds = None,
    play: Play = strictly,
) -> Facts:
    """Play a session with a fault, or without one. Never takes longer than three bounds.

    `usual_fds`: what the monitor holds open when there is no fault.
    """
    root = _room()

    def stage_of(guard: Guard) -> Stage:
        return Stage(conmon, root, guard, fault, usual_fds)

    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            _in_child(stage_of, sessions.ALL[name], play, write)
        finally:
            _remove(root)
            os._exit(0)
    os.close(write)
    try:
        data = _read_all(read)
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        _remove(root)
    if not data:
        return Facts(broken="the try itself did not end")
    facts = Facts(**json.loads(data))
    facts.statuses = {int(pid): status for pid, status in facts.statuses.items()}
    return facts


def _read_all(fd: int) -> bytes:
    data, end = b"", time.monotonic() + _BOUND_S
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    while poller.poll(max(0, int((end - time.monotonic()) * 1000))):
        piece = os.read(fd, 1 << 20)
        if not piece:
            return data
        data += piece
    return b""
