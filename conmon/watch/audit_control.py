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
import select
import socket
import struct
from dataclasses import dataclass

from conmon.watch.tree_procfs import ProcFs

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


class AuditControl:
    """Audit's settings and rules. `acquire` changes them, `release` puts them back."""

    def __init__(self) -> None:
        self._sequence = 0
        self._rules: list[bytes] = []
        self._before: Status | None = None
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

    def acquire(self, calls: Calls) -> None:
        """Have these calls audited. Raises PermissionError that says what is missing."""
        status = self.status()
        if status.enabled == 2:
            raise PermissionError(errno.EPERM, "audit is locked (auditctl -e 2) until the reboot")
        self._remove_stale()
        rule = _rule(calls, f"{_KEY_PREFIX}{os.getpid()}-{_start(os.getpid())}")
        self._before = status
        try:
            self._ask(_ADD_RULE, rule)
            self._rules.append(rule)
            if status.backlog_limit < _MIN_BACKLOG:
                self._set(_BACKLOG, backlog_limit=_MIN_BACKLOG)
            if not status.enabled:
                self._set(_ENABLED, enabled=1)
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
                self._ask(_DEL_RULE, self._rules.pop())
            except OSError as error:
                if error.errno != errno.ENOENT:  # deleted by somebody else
                    raise
        if any(_owner(rule) for rule in self.rules()):
            return
        now = self.status()
        if now.enabled != before.enabled:
            self._set(_ENABLED, enabled=before.enabled)
        if now.backlog_limit != before.backlog_limit:
            self._set(_BACKLOG, backlog_limit=before.backlog_limit)

    def close(self) -> None:
        """Restore, and forget it."""
        try:
            self.release()
        finally:
            self._socket.close()

    def _remove_stale(self) -> None:
        """Delete the rules of trees that were killed."""
        for rule in self.rules():
            owner = _owner(rule)
            if owner and _start(owner[0]) != owner[1]:
                self._ask(_DEL_RULE, rule)

    def _set(self, mask: int, *, enabled: int = 0, backlog_limit: int = 0) -> None:
        self._ask(_SET, _STATUS.pack(mask, enabled, 0, 0, 0, backlog_limit, 0, 0, 0, 0, 0))

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


def _rule(calls: Calls, key: str) -> bytes:
    mask = [0] * 64
    for number in calls.all():
        mask[number // 32] |= 1 << number % 32
    name = key.encode()
    rest = [0] * 62
    fields, values = [_ARCH, _KEY, *rest], [calls.arch, len(name), *rest]
    flags = [_EQUAL, _EQUAL, *rest]
    return _RULE.pack(_FILTER_EXIT, _ALWAYS, 2, *mask, *fields, *values, *flags, len(name)) + name


def _owner(rule: bytes) -> tuple[int, int] | None:
    """Pid and start of the tree whose rule this is, or None for others' rules."""
    words = _RULE.unpack_from(rule)
    fields, values = words[67:131], words[131:195]
    at = _RULE.size
    for kind, value in zip(fields[: words[2]], values, strict=False):
        if kind == _KEY:
            name = rule[at : at + value].decode(errors="replace")
            pid, _, start = name.removeprefix(_KEY_PREFIX).partition("-")
            if name.startswith(_KEY_PREFIX) and pid.isdecimal() and start.isdecimal():
                return int(pid), int(start)
    return None


def _start(pid: int) -> int:
    stat = ProcFs().stat(pid)
    return 0 if stat is None or stat.dead else stat.start
