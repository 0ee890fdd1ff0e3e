"""The ordinary user that the rootless tests run as."""

import fcntl
import os
import pwd
import subprocess
from pathlib import Path

from .wait import until

NAME = "conmontest"
# Marks an account as ours to remove, also when the session that made it was killed.
COMMENT = "made by the integration tests of conmon"
LOCKS = Path("/run")
SUB_RANGE = "1500000000-1500065535"


def _has_sub_range(path: str, name: str) -> bool:
    try:
        lines = Path(path).read_text().splitlines()
    except FileNotFoundError:
        return False
    return any(line.startswith(f"{name}:") for line in lines)


def _processes_of(uid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid:
                    found.append(int(entry.name))
            except FileNotFoundError:
                continue
    return found


def _lock(name: str, operation: int) -> int:
    """Open and lock a file in LOCKS; raises BlockingIOError with LOCK_NB."""
    fd = os.open(LOCKS / f"conmontest.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, operation)
    except BlockingIOError:
        os.close(fd)
        raise
    return fd


def _account() -> pwd.struct_passwd:
    """The account with its subordinate ids; made where it is missing."""
    try:
        pwd.getpwnam(NAME)
    except KeyError:
        subprocess.run(
            ["useradd", "--no-create-home", "--shell", "/usr/sbin/nologin",
             "--comment", COMMENT, NAME],
            check=True,
        )  # fmt: skip
    if not _has_sub_range("/etc/subuid", NAME):
        subprocess.run(["usermod", "--add-subuids", SUB_RANGE, NAME], check=True)
    if not _has_sub_range("/etc/subgid", NAME):
        subprocess.run(["usermod", "--add-subgids", SUB_RANGE, NAME], check=True)
    return pwd.getpwnam(NAME)


class TestUser:
    """The account ``conmontest``, made when it is missing.

    Sessions that run at the same time share it, and the last one removes it, unless it was
    there before any of them.
    """

    __test__ = False  # not a class of tests, whatever pytest makes of its name

    def __init__(self) -> None:
        change = _lock("change", fcntl.LOCK_EX)
        try:
            account = _account()
            self._in_use = _lock("use", fcntl.LOCK_SH)
        finally:
            os.close(change)
        self.uid = account.pw_uid
        self.gid = account.pw_gid
        self._made_by_tests = account.pw_gecos == COMMENT

    def close(self) -> None:
        """Remove the account if tests made it and no other session uses it."""
        change = _lock("change", fcntl.LOCK_EX)
        try:
            os.close(self._in_use)
            if self._made_by_tests:
                os.close(_lock("use", fcntl.LOCK_EX | fcntl.LOCK_NB))
                # userdel refuses while a process of the user is left, zombies included.
                until(lambda: not _processes_of(self.uid), "the test user's processes to end")
                subprocess.run(["userdel", NAME], check=True)
        except BlockingIOError:
            pass  # another session still runs: it removes the account
        finally:
            os.close(change)
