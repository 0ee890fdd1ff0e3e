"""What can go wrong for a person, each with the exit status that a script can tell it by."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """Exit statuses of conmonctl; `conmonctl --help` lists them."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NO_SUCH_CONTAINER = 3
    AMBIGUOUS = 4
    NOT_PERMITTED = 5


class CtlError(Exception):
    """A failure that is said in one message; str() is its text, `hint` what to do about it."""

    status = Status.FAILURE

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class NoSuchContainer(CtlError):
    """No monitor belongs to what was named."""

    status = Status.NO_SUCH_CONTAINER


class Ambiguous(CtlError):
    """Several monitors belong to what was named."""

    status = Status.AMBIGUOUS


class NotPermitted(CtlError):
    """The kernel refuses it to this user."""

    status = Status.NOT_PERMITTED


class Stopped(BaseException):
    """A signal asks us to end; args[0] is its number. What was begun is undone on the way out."""
