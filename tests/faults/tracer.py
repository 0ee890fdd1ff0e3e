"""Follows one conmon with all of its lives and children, and lets one of its calls go wrong.

Whatever executes another program (runtime, exit command) is let go of at that moment, so that
containers run as ever. A process is named by its place in the family: "0" is the one that was
started, "0.1" the first child of it (the monitor, unless --sync), "0.1.2" the second child of that.

The tracer is a process of its own, forked from the session's. After the fault it has nothing more
to do: it ends, and the kernel lets go of all that it has followed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from faults import calls, names, ptrace
from faults.ptrace import Entry, Exit

#: Instead of an error: the call is made, but late; or a signal comes in, and the call is made.
DELAY = "delay"
TERM = "SIGTERM"
#: The beginning of: the call is made, when something else has taken the place of its name.
SWAP = "swap:"
_DELAY_S = 0.05
_SIGSTOPS = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """The `occurrence`-th (from 1) `call` of `process` ends with `error`."""

    process: str
    call: str
    occurrence: int
    error: str

    def options(self) -> str:
        return (
            f"--process {self.process} --call {self.call} --occurrence {self.occurrence}"
            f" --errno {self.error}"
        )


@dataclass(slots=True)
class Seen:
    """One call that a conmon made: its place in the session, and what it was about."""

    process: str
    call: str
    occurrence: int
    key: str
    about: str
    named: str = ""  # the name below the session's root that it was given


@dataclass(slots=True)
class _Followed:
    name: str
    started: bool
    skipping: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    children: int = 0
    inside: Entry | None = None
    spoilt: int | None = None
    top: int = 0  # of the heap, as brk(2) has it
    fresh: bool = True


def is_dynamic(program: str) -> bool:
    """Whether a loader runs first, whose calls are not conmon's."""
    with open(program, "rb") as file:
        return b"ld-linux" in file.read(4096)


class Tracer:
    """Follow `pid`, which has yet to execute `program`, to the end of all, or to the fault."""

    def __init__(self, pid: int, program: str, root: str, fault: Fault | None) -> None:
        self.program = os.path.realpath(program)
        self.root = root
        self.fault = fault
        self.seen: list[Seen] = []
        self.hit: dict[str, Any] | None = None
        self._names = calls.names()
        self._registers = ptrace.registers()
        self._dynamic = is_dynamic(self.program)
        self._followed = {pid: _Followed("0", started=False)}
        self._done = False
        ptrace.seize(pid)

    def run(self) -> None:
        """Until everything has ended or was let go of, or the fault has been made."""
        while self._followed and not self._done:
            try:
                pid, status = os.waitpid(-1, ptrace.WALL)
            except ChildProcessError:
                return
            if not os.WIFSTOPPED(status):
                self._followed.pop(pid, None)
                continue
            with contextlib.suppress(ProcessLookupError):
                self._stopped(pid, status)

    def _stopped(self, pid: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        if pid not in self._followed:  # a child may be seen before the event of its parent
            self._followed[pid] = _Followed("?", started=True)
        if number == signal.SIGTRAP | 0x80:
            self._at_call(pid, self._followed[pid])
        elif event == ptrace.EVENT_STOP and number in _SIGSTOPS:
            ptrace.stay_stopped(pid)
            return
        elif event:
            self._event(pid, event)
            number = 0
        else:
            ptrace.go_to_next_call(pid, number)
            return
        if pid in self._followed and not self._done and not self._waits_for_name(pid):
            ptrace.go_to_next_call(pid)

    def _waits_for_name(self, pid: int) -> bool:
        """A child whose parent's event has not come yet stays where it is until it has."""
        return self._followed[pid].name == "?"

    def _event(self, pid: int, event: int) -> None:
        if event in (ptrace.EVENT_FORK, ptrace.EVENT_VFORK, ptrace.EVENT_CLONE):
            self._adopt(self._followed[pid], ptrace.event_message(pid))
        elif event == ptrace.EVENT_EXEC:
            self._executed(pid, self._followed[pid])

    def _adopt(self, parent: _Followed, child: int) -> None:
        parent.children += 1
        name = f"{parent.name}.{parent.children}"
        waiting = self._followed.get(child)
        self._followed[child] = _Followed(name, parent.started, parent.skipping)
        if waiting is not None:
            ptrace.go_to_next_call(child)

    def _executed(self, pid: int, process: _Followed) -> None:
        if os.path.realpath(f"/proc/{pid}/exe") == self.program:
            process.started, process.skipping = True, self._dynamic
            process.inside = None
        elif process.started:
            del self._followed[pid]
            ptrace.detach(pid)

    def _at_call(self, pid: int, process: _Followed) -> None:
        stop = ptrace.at_call(pid)
        if isinstance(stop, Exit):
            self._leaves(pid, process, stop)
        elif process.started:
            self._enters(pid, process, stop)

    def _enters(self, pid: int, process: _Followed, entry: Entry) -> None:
        process.inside = entry
        name = self._names.get(entry.number, str(entry.number))
        if process.skipping:
            process.skipping = name != "munmap"  # the loader is done with its cache
            return
        process.counts[name] += 1
        if self.fault is None:
            key, about = calls.describe(pid, name, entry.arguments, self.root)
            named = self._named(pid, name, entry)
            self.seen.append(Seen(process.name, name, process.counts[name], key, about, named))
        elif (process.name, name, process.counts[name]) == (
            self.fault.process, self.fault.call, self.fault.occurrence,
        ):  # fmt: skip
            self._strike(pid, process, entry, name)

    def _named(self, pid: int, name: str, entry: Entry) -> str:
        path = calls.named(pid, name, entry.arguments)
        return path.removeprefix(self.root) if path.startswith(self.root + "/") else ""

    def _strike(self, pid: int, process: _Followed, entry: Entry, name: str) -> None:
        assert self.fault is not None
        key, about = calls.describe(pid, name, entry.arguments, self.root)
        self.hit = {"key": key, "about": about, "pid": pid, "stack": stack_words(pid, entry)}
        if self.fault.error.startswith(SWAP):
            if path := self._named(pid, name, entry):
                names.swap(self.root + path, self.fault.error.removeprefix(SWAP), self.root)
            self._done = True
            return
        if self.fault.error in (DELAY, TERM):
            if self.fault.error == DELAY:
                time.sleep(_DELAY_S)
            else:
                os.kill(pid, signal.SIGTERM)
            self._done = True
            return
        process.spoilt = -int(getattr(errno, self.fault.error))
        if name == "brk":  # it has no errors: it says where the heap still ends
            process.spoilt = process.top
        if name != "close":  # close(2) closes, whatever it says
            self._registers.skip_call(pid)

    def _leaves(self, pid: int, process: _Followed, stop: Exit) -> None:
        inside, process.inside = process.inside, None
        if inside is None:
            return
        if process.spoilt is not None:
            self._registers.set_result(pid, process.spoilt)
            self._done = True
        elif self._names.get(inside.number) == "brk":
            process.top = stop.result


def stack_words(pid: int, entry: Entry, size: int = 6144) -> list[int]:
    """The instruction, and all on the stack that may be a return address into a program."""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(entry.stack)
        try:
            data = memory.read(size)
        except OSError:
            data = b""
    data = data[: len(data) // 8 * 8]
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
    return [entry.instruction, *(word for word in words if 0x400000 <= word < 0x4000000)][:80]


class Side:
    """The tracer as a process: forked, told to begin, asked for what it saw."""

    def __init__(self, pid: int, program: str, root: str, fault: Fault | None) -> None:
        self._read, write = os.pipe()
        ready_read, ready_write = os.pipe()
        calls.names()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read)
            os.close(ready_read)
            _in_child(lambda: _trace(pid, program, root, fault, write, ready_write))
        os.close(write)
        os.close(ready_write)
        if os.read(ready_read, 1) != b"\0":
            raise RuntimeError("the tracer did not begin")
        os.close(ready_read)

    def result(self) -> dict[str, Any]:
        """What it saw; waits for its end."""
        with open(self._read, "rb") as file:
            data = file.read()
        with contextlib.suppress(ChildProcessError):  # it may have been reaped with the others
            os.waitpid(self.pid, 0)
        return dict(json.loads(data)) if data else {}


def _in_child(work: Callable[[], None]) -> None:
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def _trace(pid: int, program: str, root: str, fault: Fault | None, write: int, ready: int) -> None:
    tracer = Tracer(pid, program, root, fault)
    os.write(ready, b"\0")
    os.close(ready)
    tracer.run()
    result = {"seen": [asdict(each) for each in tracer.seen], "hit": tracer.hit}
    data = memoryview(json.dumps(result).encode())
    while data:
        data = data[os.write(write, data) :]
