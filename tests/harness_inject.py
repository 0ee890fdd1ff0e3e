"""A running process made to try a system call, from outside: no build of its own is needed.

It is stopped with ptrace(2) where it is about to make a call, and makes another one instead. That
one is what a filter of system calls sees, which is asked after the tracer.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from faults import calls, ptrace
from faults.ptrace import Entry, Exit

_BELOW = 4096  # bytes below the stack's end, where nothing is


class Puppet:
    """A process that is stopped between two calls of its own."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._registers = ptrace.registers()

    def _next_stop(self) -> Entry | Exit:
        """Let it go on to where a call begins or ends. Its signals reach it."""
        deliver = 0
        while True:
            ptrace.go_to_next_call(self._pid, deliver)
            _, status = os.waitpid(self._pid, ptrace.WALL)
            assert os.WIFSTOPPED(status), status
            number, event = os.WSTOPSIG(status), status >> 16
            if number == signal.SIGTRAP | 0x80:
                return ptrace.at_call(self._pid)
            deliver = 0 if event else number

    def attempt(self, number: int, *arguments: int | bytes) -> int:
        """What the kernel answers: a value, or -errno. `bytes` are put into its memory.

        Its own call is interrupted (EINTR), and made again by it.
        """
        while not isinstance(stop := self._next_stop(), Entry):
            pass
        at = (stop.stack - _BELOW) & ~7
        words = []
        with open(f"/proc/{self._pid}/mem", "r+b", buffering=0) as memory:
            for argument in arguments:
                if isinstance(argument, bytes):
                    at -= len(argument) + 8 & ~7
                    memory.seek(at)
                    memory.write(argument)
                words.append(at if isinstance(argument, bytes) else argument)
        self._registers.set_call(self._pid, number, words + [0] * (6 - len(words)))
        result = self._next_stop()
        assert isinstance(result, Exit)
        self._registers.set_result(self._pid, -errno.EINTR)
        return result.result


@contextmanager
def puppet(pid: int) -> Iterator[Puppet]:
    """Take hold of a process, and let it go at the end. It must be one that sleeps in its loop."""
    ptrace.seize(pid)
    try:
        ptrace.interrupt(pid)
        os.waitpid(pid, ptrace.WALL)
        yield Puppet(pid)
    finally:
        ptrace.detach(pid)


def call_number(name: str) -> int | None:
    """Of a system call on this processor; None where it has none of this name."""
    return {name: number for number, name in calls.names().items()}.get(name)
