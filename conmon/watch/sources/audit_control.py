"""Asking the kernel to audit process calls, and leaving its audit settings as they were.

Messages: struct audit_status and struct audit_rule_data of linux/audit.h over NETLINK_AUDIT.
Needs CAP_AUDIT_CONTROL in the initial namespaces.

Two things stay: processes that were started while audit was on keep their audit context until
they end, and with no audit daemon the records also go to the kernel's log.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import select
import socket
import struct
from dataclasses import dataclass
from typing import NamedTuple

from conmon.watch.tree.procfs import ProcFs

NETLINK_AUDIT = 9
_GET, _SET, _ADD_RULE, _DEL_RULE, _LIST_RULES = 1000, 1001, 1011, 1012, 1013
_REQUEST, _ACK = 1, 4
_ERROR, _DONE = 2, 3
_ENABLED, _BACKLOG = 0x01, 0x10  # bits of the mask of what AUDIT_SET sets
_FILTER_EXIT, _ALWAYS = 4, 2
_ARCH, _KEY, _EQUAL = 11, 210, 0x40000000
_STATUS = struct.Struct("=11I")
_RULE = struct.Struct("=3I 64I 64I 64I 64I I")
_KEY_PREFIX = "conmon-tree-"
_KEY_FORM = re.compile(rb"conmon-tree-(\d+)-(\d+)-(\d+)-(\d+)")
#: Audit's own default of 64 throttles whoever forks while we are behind.
_MIN_BACKLOG = 8192


@dataclass(frozen=True)
class Calls:
    """Numbers of the system calls of a processor architecture; `arch` as audit names it."""

    arch: int
    fork: frozenset[int]  # the new pid is the result: fork, vfork, clone
    clone: int
    clone3: int
    execute: frozenset[int]
    exit_group: int

    def all(self) -> set[int]:
        """All of them."""
        return {*self.fork, self.clone, self.clone3, *self.execute, self.exit_group}


_CALLS = {
    "x86_64": Calls(0xC000003E, frozenset({57, 58}), 56, 435, frozenset({59, 322}), 231),
    "aarch64": Calls(0xC00000B7, frozenset(), 220, 435, frozenset({221, 281}), 94),
}


def calls_of_this_machine() -> Calls:
    """Raises OSError (ENOTSUP) for an architecture whose numbers are not known here."""
    try:
        return _CALLS[platform.machine()]
    except KeyError:
        raise OSError(errno.ENOTSUP, f"no audit rules for {platform.machine()}") from None


@dataclass(frozen=True)
class Status:
    """What AUDIT_GET tells; `daemon` is the pid of auditd, or 0."""

    enabled: int
    daemon: int
    backlog_limit: int
    lost: int


class _Owner(NamedTuple):
    """The key of our rules: whose it is, and what the settings were before."""

    pid: int
    start: int
    enabled: int
    backlog_limit: int

    def alive(self) -> bool:
        return _start(self.pid) == self.start


class AuditControl:
    """Audit's settings and rules. `acquire` changes them, `release` puts them back."""

    def __init__(self) -> None:
        self._sequence = 0
        self._rules: list[bytes] = []
        self._before: tuple[int, int] | None = None  # enabled, backlog limit
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_AUDIT
        )

    def status(self) -> Status:
        """The settings, and how many records the kernel itself had to drop."""
        fields = _STATUS.unpack_from(self._ask(_GET)[0].ljust(_STATUS.size, b"\0"))
        return Status(enabled=fields[1], daemon=fields[3], backlog_limit=fields[5], lost=fields[6])

    def rules(self) -> list[bytes]:
        """All rules, as struct audit_rule_data."""
        return self._ask(_LIST_RULES)

    def delete_rule(self, rule: bytes) -> None:
        """Delete a rule that `rules` gave; OSError (ENOENT) when there is none such."""
        self._ask(_DEL_RULE, rule)

    def set_enabled(self, enabled: int) -> None:
        """Switch audit on (1) or off (0)."""
        self._ask(_SET, _STATUS.pack(_ENABLED, enabled, *[0] * 9))

    def set_backlog_limit(self, records: int) -> None:
        """How many records may wait in the kernel before it throttles who causes them."""
        self._ask(_SET, _STATUS.pack(_BACKLOG, 0, 0, 0, 0, records, *[0] * 5))

    def acquire(self, calls: Calls) -> None:
        """Have these calls audited. Raises PermissionError that says what is missing."""
        status = self.status()
        if status.enabled == 2:
            raise PermissionError(errno.EPERM, "audit is locked (auditctl -e 2) until the reboot")
        before = (status.enabled, status.backlog_limit)
        for other in self.rules():
            owner = _owner(other)
            if owner is not None:
                # Another tree changed the settings already, or was killed and left them so.
                before = (owner.enabled, owner.backlog_limit)
                if not owner.alive():
                    self.delete_rule(other)
        rule = _rule(calls, _Owner(os.getpid(), _start(os.getpid()), *before))
        self._before = before
        try:
            self._ask(_ADD_RULE, rule)
            self._rules.append(rule)
            if status.backlog_limit < _MIN_BACKLOG:
                self.set_backlog_limit(_MIN_BACKLOG)
            if not status.enabled:
                self.set_enabled(1)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Delete our rule, and restore what we changed unless another tree is at work."""
        before, self._before = self._before, None
        if before is None:
            return
        while self._rules:
            try:
                self.delete_rule(self._rules.pop())
            except OSError as error:
                if error.errno != errno.ENOENT:  # deleted by somebody else
                    raise
        if any(_owner(rule) for rule in self.rules()):
            return
        now, (enabled, backlog_limit) = self.status(), before
        if now.enabled != enabled:
            self.set_enabled(enabled)
        if now.backlog_limit != backlog_limit:
            self.set_backlog_limit(backlog_limit)

    def close(self) -> None:
        """Restore, and forget it."""
        try:
            self.release()
        finally:
            self._socket.close()

    def _ask(self, kind: int, data: bytes = b"") -> list[bytes]:
        """Send a request; the answers, up to the acknowledgement."""
        self._sequence += 1
        head = struct.pack("=IHHII", 16 + len(data), kind, _REQUEST | _ACK, self._sequence, 0)
        self._socket.send(head + data)
        answers = []
        acknowledged = False
        while True:
            if not select.select([self._socket], [], [], 5.0)[0]:
                raise TimeoutError(errno.ETIMEDOUT, "no answer from the kernel's audit")
            message = self._socket.recv(16384)
            _, answer, _, sequence, _ = struct.unpack_from("=IHHII", message)
            if sequence != self._sequence:
                continue
            if answer == _ERROR:
                code = -struct.unpack_from("=i", message, 16)[0]
                if code:
                    raise _error(code)
                acknowledged = True
            elif answer != _DONE:
                answers.append(message[16:])
            # The list ends with DONE; the status may come before or after its acknowledgement.
            if answer == _DONE or (
                acknowledged and kind != _LIST_RULES and (kind != _GET or answers)
            ):
                return answers


def _error(code: int) -> OSError:
    if code in (errno.EPERM, errno.ECONNREFUSED):
        return PermissionError(
            code, "audit needs CAP_AUDIT_CONTROL and CAP_AUDIT_READ in the initial namespaces"
        )
    return OSError(code, f"audit: {os.strerror(code)}")


def _rule(calls: Calls, owner: _Owner) -> bytes:
    mask = [0] * 64
    for number in calls.all():
        mask[number // 32] |= 1 << number % 32
    key = (_KEY_PREFIX + "-".join(map(str, owner))).encode()
    rest = [0] * 62
    fields, values = [_ARCH, _KEY, *rest], [calls.arch, len(key), *rest]
    flags = [_EQUAL, _EQUAL, *rest]
    return _RULE.pack(_FILTER_EXIT, _ALWAYS, 2, *mask, *fields, *values, *flags, len(key)) + key


def _owner(rule: bytes) -> _Owner | None:
    """The tree whose rule this is, or None for others' rules."""
    words = _RULE.unpack_from(rule)
    fields, values = words[67:131], words[131:195]
    at = _RULE.size
    for kind, value in zip(fields[: words[2]], values, strict=False):
        if kind == _KEY:
            found = _KEY_FORM.fullmatch(rule[at : at + value])
            return _Owner(*map(int, found.groups())) if found else None
    return None


def _start(pid: int) -> int:
    stat = ProcFs().stat(pid)
    return 0 if stat is None or stat.dead else stat.start
