"""From the --log-path arguments to the plan of where the container's output goes.

One argument is `DRIVER`, `DRIVER:PATH` or `PATH`. The checks are in two parts, because the
log file is opened between them: callers know the messages in this order.
"""

import errno
import posix

from conmon import _fastio, cli, diag

_NONE = (b"none", b"null", b"off")
_DRIVERS = (*_NONE, b"passthrough", b"journald", b"k8s-file")
# The journal shows the first 12 bytes of the container id as CONTAINER_ID.
_SHORT_ID = 12
_APPEND = posix.O_WRONLY | posix.O_APPEND | posix.O_CLOEXEC | posix.O_NOCTTY
# file types in st_mode: inode(7)
_TYPE, _FIFO, _REGULAR, _SYMLINK = 0o170000, 0o010000, 0o100000, 0o120000
JOURNAL_SOCKET = b"/run/systemd/journal/socket"
_LONGEST_NAME = 64  # bytes of a journal field's name
# journald drops an entry with more than 1024 fields, whole and without a word (measured).
_MOST_LABELS = 1000
_LABEL_NAME = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


class LogPlan:
    """Where output is logged; several drivers may be on at once.

    path: the k8s-file log or None; name: what it is reopened and replaced as, once it is open;
    allowlist: where the log must be, anywhere if empty.
    """

    __slots__ = ("allowlist", "journald", "name", "passthrough", "path")

    def __init__(self) -> None:
        self.path: bytes | None = None
        self.name: bytes | None = None
        self.allowlist: list[bytes] = []
        self.journald: bool = False
        self.passthrough: bool = False


def plan_paths(options: cli.Options) -> LogPlan:
    """Read every --log-path; of several k8s-file paths the last counts. Raises diag.Fatal."""
    if not options.log_paths:
        raise diag.Fatal(b"Log driver not provided. Use --log-path")
    plan = LogPlan()
    plan.allowlist = options.log_allowlist_dirs
    for spec in options.log_paths:
        driver, path = _split(spec)
        if driver == b"k8s-file":
            if not path:
                raise diag.Fatal(b"k8s-file requires a filename")
            plan.path = path
        elif driver == b"journald":
            plan.journald = True
        elif driver == b"passthrough":
            plan.passthrough = True
        elif driver not in _NONE:
            raise diag.Fatal(b"No such log driver " + driver)
    return plan


def _split(spec: bytes) -> tuple[bytes, bytes]:
    """Split one --log-path into driver and path.

    A leading colon says that one lone word is a path, even one that is called like a driver;
    it does not change what two words mean. No driver's name begins with a slash, so an
    absolute path is a path, whatever colons are in it.
    """
    text = spec.lstrip(b":")
    if not text:
        raise diag.Fatal(b"log-path must not be empty")
    if text[:1] == b"/":
        return b"k8s-file", text
    driver, colon, path = text.partition(b":")
    path = path.lstrip(b":")
    leading_colon = text != spec
    if not path and (leading_colon or (not colon and driver not in _DRIVERS)):
        return b"k8s-file", driver
    return driver, path


def check_options(options: cli.Options, plan: LogPlan) -> None:
    """Check the options that belong to a driver, once the log file is open.

    Raises diag.Fatal; warns of an option without effect.
    """
    if plan.journald:
        _check_journald(options)
    elif plan.path is not None:
        if options.log_tag is not None:
            raise diag.Fatal(b"k8s-file doesn't support --log-tag")
        if options.log_labels:
            raise diag.Fatal(b"k8s-file doesn't support --log-label")
    if options.no_container_partial_message and not plan.journald:
        diag.warn(b"--no-container-partial-message has no effect without journald log driver")


def _check_journald(options: cli.Options) -> None:
    if options.cid is None or len(options.cid) <= _SHORT_ID:
        raise diag.Fatal(b"Container ID must be longer than 12 characters")
    for label in options.log_labels:
        name = label.partition(b"=")[0]
        fault = b""
        if label[:1] == b"=":
            fault = b"s must be in format LABEL=VALUE (no LABEL present in '%b')"
        elif label.count(b"=") != 1:
            fault = b"s must be in format LABEL=VALUE (none or more than one '=' present in '%b')"
        elif name.translate(None, _LABEL_NAME):
            fault = b" names must contain only uppercase letters, numbers and underscore (in '%b')"
        if fault:
            raise diag.Fatal(b"Container label" + fault % label)
        # journald's rules for names of a client's (systemd.journal-fields(7)); it drops in silence
        if len(name) > _LONGEST_NAME or name[:1] in b"_0123456789":
            diag.warn(b"The journal does not accept the label name '%b'" % name)
    if len(options.log_labels) > _MOST_LABELS:
        diag.warn(b"The journal takes at most %d labels, the others are left out" % _MOST_LABELS)


def journal_fields(options: cli.Options) -> bytes:
    """What every journal entry ends with, as it is sent, after the newline that ends MESSAGE.

    The format is systemd's native journal protocol: `NAME=value\\n`, or for a value with a
    newline `NAME\\n`, its size as 64 bits in little endian, the value, `\\n`.
    """
    cid = options.cid or b""
    short_id = cid[:_SHORT_ID]
    fields = [(b"CONTAINER_ID_FULL", cid), (b"CONTAINER_ID", short_id)]
    source = short_id
    if options.name is not None:
        source = options.name
    if options.log_tag is not None:
        source = options.log_tag
        fields.append((b"CONTAINER_TAG", options.log_tag))
    if options.name is not None:
        fields.append((b"CONTAINER_NAME", options.name))
    fields.append((b"SYSLOG_IDENTIFIER", source))
    for label in options.log_labels[:_MOST_LABELS]:
        name, _, value = label.partition(b"=")
        fields.append((name, value))
    return b"\n" + b"".join(_journal_field(name, value) for name, value in fields)


def _journal_field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%b\n%b%b\n" % (name, len(value).to_bytes(8, "little"), value)
    return b"%b=%b\n" % (name, value)


def open_log(plan: LogPlan) -> tuple[int, int]:
    """Open the k8s-file for appending; its fd and size, or (-1, 0) where none is wanted.

    A new file has mode 0640. Raises diag.Fatal, also for a log that the allowlist does not allow.
    """
    if plan.path is None:
        return -1, 0
    try:
        if plan.allowlist:
            fd = _open_allowed(plan.path, plan.allowlist)
        else:
            fd = _open_plain(plan.path, posix.O_CREAT)
        return fd, _fastio.fd_type_and_size(fd)[1]
    except OSError as error:
        raise diag.Fatal(b"Failed to open log file " + diag.strerror(error)) from None


def _open_plain(path: bytes, flags: int) -> int:
    """Open the log. OSError.

    A fifo that nobody reads is waited for, as callers know it, but not in silence; SIGTERM ends
    that, also for a caller that ignores it.
    """
    try:
        if _fastio.file_type(path, True) == _FIFO:
            return posix.open(path, _APPEND | posix.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            _fastio.signals_at_start()
            diag.warn(b"Waiting until somebody reads the log %b, a fifo" % path)
    return posix.open(path, _APPEND | flags, 0o640)


def _open_allowed(path: bytes, allowlist: list[bytes]) -> int:
    """Open, or make, a log below one of the directories. OSError, diag.Fatal.

    What a path leads to is asked of the kernel once it is open, so no symlink can be exchanged
    in between; and nothing is made, nor opened for writing, before it is known to be allowed.
    """
    parent, name = _open_parent(path)
    try:
        try:
            found = posix.open(name, posix.O_PATH | posix.O_CLOEXEC, dir_fd=parent)
        except FileNotFoundError:
            _check_allowed(path, b"%b/%b" % (_real(parent), name), allowlist)
            # O_NOFOLLOW: it may be a symlink that leads nowhere yet
            flags = _APPEND | posix.O_CREAT | posix.O_NOFOLLOW
            return posix.open(name, flags, 0o640, dir_fd=parent)
        try:
            _check_allowed(path, _real(found), allowlist)
            return _open_plain(b"/proc/self/fd/%d" % found, 0)
        finally:
            posix.close(found)
    finally:
        posix.close(parent)


def _check_allowed(path: bytes, real: bytes, allowlist: list[bytes]) -> None:
    for directory in allowlist:
        try:
            fd = posix.open(directory, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        except OSError:
            continue  # nothing is below a directory that is not there
        allowed = _real(fd)
        posix.close(fd)
        if real.startswith(allowed.rstrip(b"/") + b"/"):
            return
    raise diag.Fatal(b"Log path %b is not below any --log-allowlist-dir" % path)


def _real(fd: int) -> bytes:
    """The path of what is open, without symlinks."""
    return posix.readlink(b"/proc/self/fd/%d" % fd)


def _open_parent(path: bytes) -> tuple[int, bytes]:
    """The directory that the last name of a path is in, held open, and that name. OSError."""
    directory, slash, name = path.rpartition(b"/")
    flags = posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
    return posix.open(directory + slash or b".", flags), name


def hold_log(options: cli.Options, plan: LogPlan, fd: int) -> dict[str, int]:
    """How the open log is kept: the record's fields for size, rotation and directory; its name.

    Its directory is held open where the log's name must not lead anywhere else later: for
    rotation and under an allowlist. Warns, and leaves the log as it is, where that cannot be
    rotated safely (C11.2), or replaced at all. Repairs a rotation that was cut off. diag.Fatal.
    """
    fields = {"log_size_max": options.log_size_max, "log_dir_fd": -1, "log_max_files": 0}
    if plan.path is None:
        return fields
    try:
        if options.log_rotate or plan.allowlist:
            _hold_directory(options, plan, fd, fields)
        if fields["log_dir_fd"] < 0:
            plan.name = _own_name(plan.path, fd)
    except OSError as error:
        raise diag.Fatal(b"Failed to open the log's directory " + diag.strerror(error)) from None
    if plan.name is None and fields["log_size_max"] > 0:
        _warn_of_no_limit(plan.path, b"it has no name of its own")
    return fields


def _hold_directory(options: cli.Options, plan: LogPlan, fd: int, fields: dict[str, int]) -> None:
    """Hold the log's directory open if the log is rotated or must be in a certain place. OSError.

    Sets `fields`, and with a directory the plan's name.
    """
    path = plan.path or b""
    directory, name = _open_parent(path)
    if options.log_rotate:
        fault = _rotation_fault(path, directory, name, fd)
        if fault:
            _warn_of_no_limit(path, fault)
            fields["log_size_max"] = 0
        else:
            fields["log_max_files"] = options.log_max_files
            _remove_unfinished(name + b".new", directory)
    plan.name = path
    if plan.allowlist:
        posix.close(directory)
        plan.name = _real(fd)
        directory, name = _open_parent(plan.name)
    if fields["log_max_files"] or plan.allowlist:
        fields["log_dir_fd"] = directory
    else:
        posix.close(directory)


def _warn_of_no_limit(path: bytes, reason: bytes) -> None:
    diag.warn(b"Log file %b is not rotated, its size is not limited: %b" % (path, reason))


def _own_name(path: bytes, fd: int) -> bytes | None:
    """What an open log that is not held by its directory is reopened and replaced as.

    Of a symbolic link that is what it leads to now: the link stays, wherever it leads later.
    None where that has no name: a pipe, or a removed file, behind /dev/stdout.
    """
    try:
        if _fastio.file_type(path, False) != _SYMLINK:
            return path
    except FileNotFoundError:
        return path  # moved away already
    real, ours = _real(fd), posix.fstat(fd)
    try:
        named = posix.lstat(real)
    except FileNotFoundError:
        return None
    return real if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino) else None


def _rotation_fault(path: bytes, directory: int, name: bytes, fd: int) -> bytes:
    """Why the log must not be rotated; empty if it may be. OSError."""
    if b".." in path.split(b"/"):
        return b"its path contains .."
    named, ours = posix.stat(name, dir_fd=directory, follow_symlinks=False), posix.fstat(fd)
    if named.st_mode & _TYPE == _SYMLINK:
        return b"it is a symbolic link"
    if named.st_mode & _TYPE != _REGULAR:
        return b"it is no regular file"
    if (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
        return b"it was replaced just now"
    return b""


def _remove_unfinished(name: bytes, directory: int) -> None:
    """Remove the new log of a rotation that did not come to put it in its place: it is empty."""
    try:
        about = posix.stat(name, dir_fd=directory, follow_symlinks=False)
        if about.st_mode & _TYPE == _REGULAR and about.st_size == 0:
            posix.unlink(name, dir_fd=directory)
    except OSError:
        pass  # rotation will tell if it cannot do without
