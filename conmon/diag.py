"""conmon's own messages: stderr, and syslog where the caller asked for it (C3).

Until `configure` is called everything from a warning on goes to stderr. After the launch life
has let go of its stdio, stderr is /dev/null, and syslog is the only channel left.
"""

import posix

from conmon import _fastio

ERROR, WARNING, INFO, DEBUG, TRACE = range(5)
LEVELS = {b"error": ERROR, b"warn": WARNING, b"info": INFO, b"debug": DEBUG, b"trace": TRACE}

_LETTERS = (b"e", b"w", b"i", b"d", b"d")
_SYSLOG_NAMES = (b"error", b"nwarn", b"ninfo", b"ndebug", b"ntrace")
# syslog shows this much of the tag
_TAG_SIZE = 20


class Fatal(Exception):
    """conmon cannot go on. args[0] is the text (bytes), without prefix; the exit status is 1."""


class _Settings:
    level = WARNING
    syslog = False
    tag = b""


def configure(level: int, syslog: bool, tag: bytes) -> None:
    """Set what is heard and where; `tag` is the container id, or `id: tag`."""
    _Settings.level = level
    _Settings.syslog = syslog
    _Settings.tag = tag[:_TAG_SIZE]


def say(level: int, text: bytes) -> None:
    """Report one message. Nothing is raised: a message must not end what it tells of."""
    if level > _Settings.level:
        return
    _write(b"[conmon:%b]: %b\n" % (_LETTERS[level], text))
    if _Settings.syslog:
        line = b"conmon %b <%b>: %b" % (_Settings.tag, _SYSLOG_NAMES[level], text)
        _fastio.send_syslog(level == ERROR, line)


def _write(line: bytes) -> None:
    try:
        posix.write(2, line)
    except OSError:
        pass


def usage_error(text: bytes) -> None:
    """Report a command line that was refused: plain, before there are any settings."""
    _write(b"conmon: %b\n" % text)


def error(text: bytes) -> None:
    """Report what makes conmon give up."""
    say(ERROR, text)


def warn(text: bytes) -> None:
    """Report what goes wrong without ending anything."""
    say(WARNING, text)


def debug(text: bytes) -> None:
    """Report what helps to find a fault."""
    say(DEBUG, text)


def trace(text: bytes) -> None:
    """Report every step."""
    say(TRACE, text)


def strerror(error: OSError) -> bytes:
    """The text of an OSError's errno."""
    return posix.strerror(error.errno or 0).encode("utf-8", "surrogateescape")


def internal_error(exception: BaseException) -> bytes:
    """One line for an exception that nobody expected: its type, text and place."""
    place = b""
    trace_ = exception.__traceback__
    while trace_ is not None:
        code = trace_.tb_frame.f_code
        place = b" at %b:%d" % (code.co_filename.encode("utf-8", "replace"), trace_.tb_lineno)
        trace_ = trace_.tb_next
    text = f"{type(exception).__name__}: {exception}".encode("utf-8", "surrogateescape")
    if isinstance(exception, OSError):
        text += b": " + strerror(exception)
    return b"internal error: " + text + place
