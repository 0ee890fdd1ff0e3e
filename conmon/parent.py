"""The pipes to the container manager: start, sync and attach (C4.5, C4.10, C6)."""

import errno
import posix

from conmon import _fastio, diag

SYNC = b"_OCI_SYNCPIPE"
START = b"_OCI_STARTPIPE"
ATTACH = b"_OCI_ATTACHPIPE"

_START_SIZE = 8192
# podman reads a message into a buffer of this size; what is beyond it is lost with the rest
_MESSAGE_LIMIT = 4096
_RETRY_MS = 20
# stat.h
_FIFO, _SOCKET = 0o010000, 0o140000
_ESCAPES = {
    0x08: b"\\b", 0x09: b"\\t", 0x0A: b"\\n", 0x0C: b"\\f", 0x0D: b"\\r",
    0x22: b'\\"', 0x2F: b"\\/", 0x5C: b"\\\\",
}  # fmt: skip


class Pipe:
    """One that a variable of the environment names. fd -1: there is none.

    `fault`: why the variable cannot be used; conmon must not start a container then (C4.10).
    Look before the first file is opened: a variable that was left over may name its fd.
    """

    __slots__ = ("fault", "fd")

    def __init__(self, name: bytes) -> None:
        self.fd = -1
        self.fault: bytes | None = None
        try:
            self.fd = _pipe_from_environment(name)
        except diag.Fatal as fatal:
            self.fault = fatal.args[0]

    def checked(self) -> int:
        """The fd. diag.Fatal."""
        if self.fault is not None:
            raise diag.Fatal(self.fault)
        return self.fd

    def close(self) -> None:
        """Let go of it."""
        _fastio.close_fd(self.fd)
        self.fd = -1


def _pipe_from_environment(name: bytes) -> int:
    """The fd, made close-on-exec; -1 where the variable is not set, or names no pipe nor socket.

    The variable stays: runtime, hooks and exit command see the caller's environment.
    Raises diag.Fatal.
    """
    text = _fastio.getenv(name)
    if text is None:
        return -1
    digits = text.lstrip(b" \t\n\v\f\r")
    if digits[:1] in (b"+", b"-"):
        digits = digits[1:]
    if not digits.isdigit() or len(digits) > 9:
        raise diag.Fatal(b"unable to parse " + name)
    fd = int(text)
    if fd <= 0:
        return -1
    try:
        if _fastio.fd_type_and_size(fd)[0] not in (_FIFO, _SOCKET):
            diag.warn(b"%b names fd %d, which is neither pipe nor socket: not used" % (name, fd))
            return -1
        posix.set_inheritable(fd, False)
    except OSError as error:
        raise diag.Fatal(b"unable to make %b CLOEXEC: %b" % (name, diag.strerror(error))) from None
    return fd


def attach_fd(pipe: Pipe) -> int:
    """The attach pipe of an exec session, which --exec-attach needs. diag.Fatal."""
    fd = pipe.checked()
    if fd < 0:
        raise diag.Fatal(b"--attach specified but _OCI_ATTACHPIPE was not")
    return fd


def wait_for_start(fd: int) -> None:
    """Wait for a byte, or the end, of the start pipe: then our cgroup is set. diag.Fatal."""
    try:
        posix.read(fd, _START_SIZE)
    except OSError as error:
        raise diag.Fatal(b"start-pipe read failed: " + diag.strerror(error)) from None


def wait_for_go(start: Pipe) -> None:
    """Read the start byte before an error is reported: a caller that writes it only after conmon
    has gone would get EPIPE, and show that instead of the reason."""
    try:
        if start.fd >= 0:
            wait_for_start(start.fd)
    except diag.Fatal as fatal:
        diag.error(fatal.args[0])


def refuse(words: list[bytes], text: bytes) -> None:
    """Tell the caller why its command line was refused, as far as that can be understood."""
    api_version = any(word.partition(b"=")[0] == b"--api-version" for word in words)
    exec_mode = b"--exec" in words or b"-e" in words
    start, sync = Pipe(START), Pipe(SYNC)
    wait_for_go(start)
    try:
        send(sync.fd, message(result_key(api_version, exec_mode), -1, text))
    except diag.Fatal as fatal:
        diag.error(fatal.args[0])


def result_key(api_version: int, exec_mode: bool) -> bytes:
    """The JSON key of a result on the sync pipe."""
    if api_version >= 1:
        return b"data"
    return b"exit_code" if exec_mode else b"pid"


def message(key: bytes, value: int, text: bytes | None = None) -> bytes:
    """One JSON line of at most 4096 bytes; a longer text is cut at the end of a character.

    Bytes from 0x80 on go through as they are: the text is whatever the runtime said.
    """
    head = b'{"%b": %d' % (key, value)
    if text is None:
        return head + b"}\n"
    head += b', "message": "'
    room = _MESSAGE_LIMIT - len(head) - len(b'"}\n')
    parts: list[bytes] = []
    for code in text:
        part = _ESCAPES.get(code) or (
            b"\\u%04x" % code if code < 0x20 or code == 0x7F else bytes((code,))
        )
        room -= len(part)
        if room < 0:
            _drop_open_character(parts)
            break
        parts.append(part)
    return head + b"".join(parts) + b'"}\n'


def _drop_open_character(parts: list[bytes]) -> None:
    """Take a UTF-8 sequence that the cut has torn off the end."""
    for back in range(1, min(4, len(parts)) + 1):
        lead = parts[-back][0]
        if lead < 0x80:
            return
        if lead >= 0xC0:
            needed = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            if needed > back:
                del parts[-back:]
            return


def send(fd: int, line: bytes) -> bool:
    """Write one message in one write; False once nobody listens any more.

    A pipe that is full, and memory, are waited for. Raises diag.Fatal for anything else.
    """
    while fd >= 0:
        try:
            posix.write(fd, line)
            return True
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                return False
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM):
                raise diag.Fatal(
                    b"Unable to send container stderr message to parent: " + diag.strerror(error)
                ) from None
            _fastio.wait_readable([], _RETRY_MS)
    return False
