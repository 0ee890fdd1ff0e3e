"""What a try amounts to: one row of the table, with what was seen in words."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from typing import Any

from harness_log import RECORD

from faults.calls import plain
from faults.sessions import CODE, Promise
from faults.stage import Facts

GOOD = ("all right", "refused with the reason")
ROWS = (
    *GOOD,
    "refused without the reason",
    "told as failed, the container left",
    "started, the exit code lost",
    "one of two exit files",
    "log incomplete",
    "client's output incomplete",
    "torn log",
    "exit command not run",
    "hang",
    "spin",
    "crash",
    "left behind",
)
#: A conmon that has used more than this, in seconds, for a session of a tenth, spins.
_SPIN_S = 1.0
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
_MARK = re.compile(r"bytes of output were not logged")

#: Exit codes of a container that was ended on the way.
_KILLED, _TERMINATED = 137, 143

Verdict = tuple[str, str]


def judge(facts: Facts, promise: Promise, usual: Facts | None, terminated: bool = False) -> Verdict:
    """Row and words; `usual` is the same session without a fault.

    `terminated`: conmon was told to end, which it may pass on to the container.
    """
    if found := unsound(facts) or _torn(facts):
        return found
    told = _told(facts)
    if terminated and not facts.container_left and _ended_as_asked(facts, promise, told):
        return _leftovers(facts, usual)
    if told is None or told < 0:
        return _refused(facts, promise, told)
    return _started(facts, promise, usual)


def unsound(facts: Facts) -> Verdict | None:
    """What no conmon may do, whatever happens to it."""
    for rule in (_broken, _alive, _crash):
        if found := rule(facts):
            return found
    return None


def _ended_as_asked(facts: Facts, promise: Promise, told: int | None) -> bool:
    """Whether a signal has ended conmon before there was a container, or the container."""
    if promise.report and told in (_TERMINATED, _KILLED):
        return True
    if told is None or told < 0:
        return True
    codes = {facts.persist, facts.exit}
    ended = codes <= {str(_TERMINATED), str(_KILLED)} and len(codes) == 1
    return ended and (facts.exit_command or not promise.exit_command)


def _broken(facts: Facts) -> Verdict | None:
    return ("broken", facts.broken) if facts.broken else None


def _alive(facts: Facts) -> Verdict | None:
    if facts.hang:
        spins = re.search(r" R in | running,", facts.hang) or facts.cpu_s > _SPIN_S
        return ("spin" if spins else "hang", facts.hang)
    if facts.cpu_s > _SPIN_S:
        return "spin", f"{facts.cpu_s:.1f} s of CPU"
    return None


def _crash(facts: Facts) -> Verdict | None:
    for status in facts.statuses.values():
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in _CRASHES:
            return "crash", signal.Signals(os.WTERMSIG(status)).name
    return None


def _torn(facts: Facts) -> Verdict | None:
    rest = RECORD.sub(b"", facts.log.encode("latin-1"))
    return ("torn log", repr(rest[:200])) if rest else None


def _messages(facts: Facts) -> list[dict[str, Any]]:
    found = []
    for line in "".join(facts.messages).splitlines():
        try:
            found.append(dict(json.loads(line)))
        except ValueError:
            found.append({"message": line})
    return found


def _told(facts: Facts) -> int | None:
    """What the parent was told first: a pid, a code, -1, or nothing."""
    for message in _messages(facts):
        for key in ("data", "pid", "exit_code"):
            if key in message:
                return int(message[key])
    return None


def _refused(facts: Facts, promise: Promise, told: int | None) -> Verdict:
    if facts.container_left:
        return "told as failed, the container left", _words(facts)
    reason = any(message.get("message") for message in _messages(facts)) or _said(facts)
    status = facts.statuses.get(facts.parent, 0)
    if told is None and (not reason or status == 0):
        return "refused without the reason", _words(facts)
    if not reason:
        return "refused without the reason", _words(facts)
    files = _files(facts, None)
    if facts.left or files:
        return "left behind", f"{facts.left} {files}"
    return ("all right" if promise.refused else "refused with the reason"), _words(facts)


def _said(facts: Facts) -> bool:
    """Whether stderr has more than what is said in good times, too."""
    lines = facts.stderr.splitlines()
    return any(not line.startswith(("[conmon:d]", "[conmon:i]")) for line in lines)


def _words(facts: Facts) -> str:
    status = facts.statuses.get(facts.parent)
    return (
        f"status {status}, told {''.join(facts.messages)!r}, stderr {facts.stderr[-300:]!r},"
        f" exit files {facts.persist} {facts.exit}"
    )


def _started(facts: Facts, promise: Promise, usual: Facts | None) -> Verdict:
    for rule in (_codes, _log, _client):
        if found := rule(facts, promise):
            return found
    if promise.exit_command and not facts.exit_command and not _says_so(facts):
        return "exit command not run", _words(facts)
    return _leftovers(facts, usual)


def _says_so(facts: Facts) -> bool:
    """Whether the exit command could not be executed, and conmon's own status tells that."""
    hit = facts.hit or {}
    return hit.get("key") == "execve" and facts.statuses.get(facts.monitor, 0) != 0


def _codes(facts: Facts, promise: Promise) -> Verdict | None:
    expected = _KILLED if facts.killed else CODE
    if promise.report:
        told = _told(facts)
        return None if told == expected else ("started, the exit code lost", _words(facts))
    right = [facts.persist, facts.exit].count(str(expected))
    if right == 0:
        return "started, the exit code lost", _words(facts)
    return ("one of two exit files", _words(facts)) if right < promise.exit_files else None


def _missing(text: str, promise: Promise, names: tuple[str, ...]) -> list[str]:
    """Numbered lines that are missing or doubled."""
    found = Counter(re.findall(r"\b((?:out|err) \d+)\.", text))
    expected = [f"{name} {n}" for name in names for n in range(promise.first, promise.last)]
    return [line for line in expected if found[line] != 1]


def _log(facts: Facts, promise: Promise) -> Verdict | None:
    if not promise.log or facts.killed:
        return None
    missing = _missing(facts.log, promise, ("out", "err"))
    if missing and not _MARK.search(facts.log):
        return "log incomplete", f"{len(missing)} lines missing or doubled: {missing[:5]}"
    return None


def _client(facts: Facts, promise: Promise) -> Verdict | None:
    if not promise.client:
        return None
    text = facts.client or ""
    missing = _missing(text, promise, ("out", "err"))
    if missing or facts.client_end != "end of file":
        words = f"end: {facts.client_end}; {len(missing)} lines missing: {missing[:5]}"
        return "client's output incomplete", words
    return None


def _leftovers(facts: Facts, usual: Facts | None) -> Verdict:
    fds: Counter[str] = Counter()
    if usual is not None and facts.fds:
        fds = Counter(facts.fds) - Counter(usual.fds)
    files = _files(facts, usual)
    if facts.left or files or facts.container_left or fds:
        return "left behind", f"{facts.left} {files} {dict(fds)} {facts.container_left}"
    return "all right", ""


def _files(facts: Facts, usual: Facts | None) -> list[str]:
    """Files left behind, but for one whose removal was what failed."""
    spared = set(usual.files) if usual is not None else set()
    hit = facts.hit or {}
    if str(hit.get("key", "")).startswith("unlink"):
        spared |= {name for name in facts.files if str(hit["about"]).endswith(plain(name)[-6:])}
    return sorted(set(facts.files) - spared)
