"""From the --log-path arguments to the plan of where the container's output goes.

One argument is `DRIVER`, `DRIVER:PATH` or `PATH`. The checks are in two parts, because the
log file is opened between them: callers know the messages in this order.
"""

import posix

from conmon import cli, diag

_NONE = (b"none", b"null", b"off")
_DRIVERS = (*_NONE, b"passthrough", b"journald", b"k8s-file")
# The journal shows the first 12 bytes of the container id as CONTAINER_ID.
_SHORT_ID = 12
_LABEL_NAME = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


class LogPlan:
    """Where output is logged; several drivers may be on at once.

    path: the k8s-file log or None; none: some --log-path asked for no logging.
    """

    __slots__ = ("journald", "none", "passthrough", "path")

    def __init__(self) -> None:
        self.path: bytes | None = None
        self.journald: bool = False
        self.passthrough: bool = False
        self.none: bool = False


def plan_paths(options: cli.Options) -> LogPlan:
    """Read every --log-path; of several k8s-file paths the last counts. Raises diag.Fatal."""
    if not options.log_paths:
        raise diag.Fatal(b"Log driver not provided. Use --log-path")
    plan = LogPlan()
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
        elif driver in _NONE:
            plan.none = True
        else:
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


def open_log(plan: LogPlan) -> tuple[int, int]:
    """Open the k8s-file for appending; its fd and size, or (-1, 0) where none is wanted.

    A new file has mode 0640. Raises diag.Fatal.
    """
    if plan.path is None:
        return -1, 0
    flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC
    try:
        fd = posix.open(plan.path, flags, 0o640)
        return fd, posix.fstat(fd).st_size
    except OSError as error:
        raise diag.Fatal(b"Failed to open log file " + diag.strerror(error)) from None
