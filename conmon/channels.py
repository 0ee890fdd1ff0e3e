"""The container's channels: stdio pipes, attach socket, ctl and winsz fifos (C4.13, C4.15, C12)."""

import posix

from conmon import _fastio, cli, diag

_BACKLOG = 10
# sizeof(sun_path) - 1: the longest name that clients can put into a socket address
SUN_PATH = 107


class Stdio:
    """Pipe ends. The runtime's are -1 once it has them, and where there is no pipe."""

    __slots__ = ("runtime_stderr", "runtime_stdin", "runtime_stdout", "stderr", "stdin",
                 "stdout")  # fmt: skip

    def __init__(self) -> None:
        self.stdin = self.stdout = self.stderr = -1
        self.runtime_stdin = self.runtime_stdout = self.runtime_stderr = -1

    def for_runtime(self) -> list[int | None]:
        """What the runtime gets as 0, 1 and 2; None is /dev/null."""
        ends = (self.runtime_stdin, self.runtime_stdout, self.runtime_stderr)
        return [fd if fd >= 0 else None for fd in ends]

    def close_runtime_ends(self) -> None:
        """Let go of what only the runtime and the container hold from now on."""
        for fd in (self.runtime_stdin, self.runtime_stdout, self.runtime_stderr):
            _fastio.close_fd(fd)
        self.runtime_stdin = self.runtime_stdout = self.runtime_stderr = -1


def open_stdio(options: cli.Options) -> Stdio:
    """Make the pipes; our ends never block, the container's always do. OSError.

    With a terminal only the runtime's messages come through a pipe: stderr.
    """
    stdio = Stdio()
    if not options.terminal:
        if options.stdin:
            stdio.runtime_stdin, stdio.stdin = posix.pipe2(posix.O_CLOEXEC)
            posix.set_blocking(stdio.stdin, False)
        stdio.stdout, stdio.runtime_stdout = posix.pipe2(posix.O_CLOEXEC)
        posix.set_blocking(stdio.stdout, False)
    stdio.stderr, stdio.runtime_stderr = posix.pipe2(posix.O_CLOEXEC)
    posix.set_blocking(stdio.stderr, False)
    return stdio


def link_bundle(options: cli.Options, bundle: bytes) -> bytes | None:
    """The symlink that was made to the bundle, where the attach socket is; None: --full-attach.

    It is <socket-dir>/<cuuid>: short enough for clients to name the socket in it. It is theirs
    alone: somebody may have put something else in its place by now. diag.Fatal.
    """
    if options.full_attach:
        return None
    link = b"%b/%b" % (options.socket_dir_path, options.cuuid or b"")
    if len(link) == SUN_PATH:
        # clients cut the name here, and so a link of exactly this length must be cut as well
        link = link[:-1]
    try:
        posix.unlink(link)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise diag.Fatal(
            b"Failed to remove existing symlink for socket directory %b: %b"
            % (link, diag.strerror(error))
        ) from None
    try:
        posix.symlink(bundle, link)
    except OSError as error:
        raise diag.Fatal(
            b"Failed to create symlink for notify socket %b: %b" % (link, diag.strerror(error))
        ) from None
    return link


def open_attach(bundle: bytes) -> int:
    """A listening socket `attach` in the bundle, of any path length. diag.Fatal."""
    try:
        with_directory = _Directory(bundle)
    except OSError as error:
        raise diag.Fatal(
            b"failed to open socket path parent dir %b: %b" % (bundle, diag.strerror(error))
        ) from None
    with with_directory as place:
        try:
            place.remove(b"attach")
        except OSError as error:
            raise diag.Fatal(b"Failed to remove existing socket: " + diag.strerror(error)) from None
        try:
            return _fastio.listen_seqpacket(place.short(b"attach"), _BACKLOG)
        except OSError as error:
            raise diag.Fatal(b"Failed to bind to attach socket: " + diag.strerror(error)) from None


def open_notify(bundle: bytes) -> int:
    """The socket notify/notify.sock in the bundle, for anybody inside (C14). diag.Fatal."""
    try:
        with _Directory(bundle + b"/notify") as place:
            try:
                place.remove(b"notify.sock")
            except IsADirectoryError:  # the container may have made it, and must start again
                place.put_aside(b"notify.sock")
            return _fastio.bind_datagram(place.short(b"notify.sock"), 0o777)
    except OSError as error:
        raise diag.Fatal(
            b"Failed to bind to notify socket in %b: %b" % (bundle, diag.strerror(error))
        ) from None


def remove_notify(bundle: bytes) -> None:
    """Remove that socket again, of a launch that failed."""
    try:
        with _Directory(bundle + b"/notify") as place:
            place.remove(b"notify.sock")
    except OSError as error:
        diag.debug(b"failed to remove the notify socket: " + diag.strerror(error))


class _Directory:
    """An open directory, with the kernel's own short name for it: /proc/self/fd/N.

    A socket address takes 107 bytes; the path of a bundle may be longer.
    """

    __slots__ = ("_fd",)

    def __init__(self, path: bytes) -> None:
        self._fd = posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)

    def __enter__(self) -> "_Directory":
        return self

    def __exit__(self, *_: object) -> None:
        _fastio.close_fd(self._fd)

    def short(self, name: bytes) -> bytes:
        """A short path of a name in the directory."""
        return b"/proc/self/fd/%d/%b" % (self._fd, name)

    def remove(self, name: bytes) -> None:
        """Remove a name if it is there. OSError."""
        try:
            posix.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            pass

    def put_aside(self, name: bytes) -> None:
        """Give what has a name another one, which nothing has. OSError."""
        new = _fastio.unused_path(self.short(name + b"."))
        posix.rename(self.short(name), new)
        last = new.rpartition(b"/")[2]
        diag.warn(b"Renamed a directory that is in the way of %b: %b" % (name, last))


def open_fifo(directory: bytes, name: bytes) -> int:
    """A new fifo, opened for reading. diag.Fatal.

    Opened for writing too: there is never an end of file, and a client's first open succeeds.
    """
    path = b"%b/%b" % (directory, name)
    try:
        try:
            posix.mkfifo(path, 0o660)
        except FileExistsError:
            posix.unlink(path)
            posix.mkfifo(path, 0o660)
        flags = posix.O_RDWR | posix.O_NONBLOCK | posix.O_NOFOLLOW | posix.O_NOCTTY
        return posix.open(path, flags | posix.O_CLOEXEC)
    except OSError as error:
        raise diag.Fatal(
            b"Failed to make the %b fifo %b: %b" % (name, path, diag.strerror(error))
        ) from None
