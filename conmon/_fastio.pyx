"""The core and its Python face.

`conmon_monitor` and `conmon_linger` are the two lives that run without an interpreter; nothing
that they reach touches a Python object, so they link without libpython. Below them is what the
Python lives, the tests and the tools call: thin functions that raise OSError and take and return
plain values (paths and texts are bytes, fds are ints).
"""

from libc.errno cimport EINTR, ENAMETOOLONG, errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.stdlib cimport getenv as c_getenv
from libc.string cimport memcpy, memset, strcmp, strerror

from conmon.core.atomicfile cimport write_atomically as core_write_atomically
from conmon.core.background cimport go_on_in_child as core_go_on_in_child
from conmon.core.clock cimport pause_ms
from conmon.core.control cimport ctl_line, parse_resize, set_terminal_size
from conmon.core.diag cimport LEVEL_ERROR, say_errno, syslog_send
from conmon.core.ending cimport linger as core_linger
from conmon.core.ending cimport conclude
from conmon.core.exitfile cimport exit_file_reserve, exit_file_write
from conmon.core.farewell cimport listener_close
from conmon.core.journal cimport journal_close
from conmon.core.journalend cimport END_PATIENCE, journal_finish, journal_lose, journal_wait
from conmon.core.kernel cimport (
    AF_UNIX, AT_FDCWD, AT_SYMLINK_NOFOLLOW, EPOLL_CLOEXEC, F_GETFL, F_SETFL, MSG_DONTWAIT,
    O_CLOEXEC, O_NONBLOCK, PR_SET_CHILD_SUBREAPER, SFD_CLOEXEC, SFD_NONBLOCK, SIGCHLD, SIGPIPE,
    SIGTERM, SIG_BLOCK, SIG_DFL, SIG_IGN, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_SEQPACKET,
    SOCK_STREAM, SOL_SOCKET, SO_PASSRIGHTS, S_IFMT, _exit, accept4, bind, c_signal, close,
    epoll_create1, fchmod, fcntl, fstat, fstatat, iovec, listen, mkostemp, mode_t, msghdr,
    pid_t, poll, pollfd, prctl, read, setsockopt, signalfd, signalfd_siginfo,
    sigprocmask, sigset_t, sockaddr, sockaddr_un, socket, stat_t, umask, unlink,
)
from conmon.core.logfile cimport log_reopen
from conmon.core.logwrite cimport log_finish, log_flush
from conmon.core.memcg cimport KillWatch
from conmon.core.memcg cimport watch_kills as core_watch_kills
from conmon.core.monitor cimport monitor_main, monitor_open, monitor_wind_down
from conmon.core.ownnames cimport own_link_remove, own_name_hold, own_name_remove
from conmon.core.queue cimport queue_free
from conmon.core.reaper cimport monitor_signals
from conmon.core.record cimport (
    RECORD_VERSION, Life, Next, Record, life_enter, record_magic, record_text,
)
from conmon.core.sandbox cimport may_not_execute, sandbox_missing
from conmon.core.spawn cimport SPAWN_KEEP, SPAWN_NULL, Spawn, spawn_runtime
from conmon.core.state cimport CHUNK, Monitor
from conmon.core.streams cimport forward as core_forward

cdef extern from "version.h":
    const char* CONMON_VERSION
    const char* CONMON_VERSION_TEXT

cdef extern from "<langinfo.h>" nogil:
    char* nl_langinfo(int item)
    enum: CODESET

cdef extern from "<termios.h>" nogil:
    struct termios:
        unsigned int c_oflag
    int tcgetattr(int fd, termios* settings)
    int tcsetattr(int fd, int when, const termios* settings)
    enum: ONLCR, TCSANOW

cdef extern from "<sys/socket.h>" nogil:
    """
    #define CMSG_ROOM CMSG_SPACE(8 * sizeof(int))
    """
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cmsghdr* CMSG_FIRSTHDR(msghdr* message)
    cmsghdr* CMSG_NXTHDR(msghdr* message, cmsghdr* header)
    unsigned char* CMSG_DATA(cmsghdr* header)
    size_t CMSG_LEN(size_t length)
    ssize_t recvmsg(int fd, msghdr* message, int flags)
    enum: CMSG_ROOM, SCM_RIGHTS, MSG_CMSG_CLOEXEC

cdef extern from "<locale.h>" nogil:
    char* setlocale(int category, const char* locale)
    enum: LC_CTYPE


# --- the lives without an interpreter -------------------------------------------------------

cdef public int conmon_monitor(Record* record, char** argv, Next* next) noexcept nogil:
    """The monitor life. The finish life is `next`, or without one it is entered by exec.

    Returns conmon's exit status, which counts where nothing comes next: also where nothing may be
    executed any more.
    """
    cdef int failure
    record = monitor_main(record, NULL if next == NULL else next.leave)
    if next != NULL:
        next.life = Life.LIFE_FINISH
        next.record = record
        return 0
    if may_not_execute(record):
        return conclude(record)
    failure = life_enter(Life.LIFE_FINISH, record, argv)
    say_errno(
        record, LEVEL_ERROR, b"Cannot start a clean process, finishing in this one",
        strerror(-failure))
    return conclude(record)


cdef public int conmon_linger(Record* record) noexcept nogil:
    """The linger life; returns conmon's exit status."""
    return core_linger(record)


cdef public int conmon_conclude(Record* record) noexcept nogil:
    """The work of a finish life that cannot do it; returns conmon's exit status."""
    return conclude(record)


# Where a Python life puts what comes after it in this process; NULL: it comes by exec.
cdef Next* successor = NULL
# The record that this life hands on to the linger life.
cdef Record* held = NULL


cdef dict finish_fields(const Record* record):
    """What conmon/finish.py needs of the record. All of its fields, of which there are a hundred,
    would be two thirds of the instructions of that life."""
    return {
        "log_level": record.log_level,
        "use_syslog": record.use_syslog,
        "exit_code": record.exit_code,
        "persist_exit_fd": record.persist_exit_fd,
        "exit_file_fd": record.exit_file_fd,
        "exec_mode": record.exec_mode,
        "timed_out": record.timed_out,
        "api_version": record.api_version,
        "sync_fd": record.sync_fd,
        "attach_path_fd": record.attach_path_fd,
        "attach_link_fd": record.attach_link_fd,
        "has_exit_command": record.exit_argv != 0,
    }


cdef dict finish_texts(const Record* record):
    """The texts that it needs; empty where there is none."""
    return {
        "cid": text_of(record, record.cid),
        "syslog_tag": text_of(record, record.syslog_tag),
        "persist_dir": text_of(record, record.persist_dir),
        "exit_dir": text_of(record, record.exit_dir),
        "attach_path": text_of(record, record.attach_path),
        "attach_link": text_of(record, record.attach_link),
        "counters_path": text_of(record, record.counters_path),
    }


cdef bytes text_of(const Record* record, uint32_t offset):
    return b"" if offset == 0 else <bytes>record_text(record, offset)


cdef public int conmon_python_life(
        int life, Record* record, int argc, char** argv, Next* next) noexcept:
    """The launch or the finish life; conmon's exit status. There is an interpreter by now."""
    global successor, held
    successor = next
    held = record
    try:
        arguments = [argv[i] for i in range(argc)]
        if life == Life.LIFE_FINISH:
            import conmon.finish
            return conmon.finish.main(arguments, finish_fields(record), finish_texts(record))
        import conmon.launch
        return conmon.launch.main(arguments)
    except BaseException as exception:
        say_internal_error(exception)
    return conclude(record) if life == Life.LIFE_FINISH else 1


cdef void say_internal_error(exception) noexcept:
    """Report an exception that nobody expected; without memory for that, say nothing."""
    try:
        from conmon import diag
        diag.error(diag.internal_error(exception))
    except BaseException:
        pass


VERSION = CONMON_VERSION.decode()
VERSION_TEXT = CONMON_VERSION_TEXT


# --- records --------------------------------------------------------------------------------

cdef dict empty_record():
    cdef Record record
    memset(&record, 0, sizeof(record))
    cdef dict fields = record
    for name in fields:
        if name.endswith("_fd"):
            fields[name] = -1
    return fields


# made once, with the interpreter's image: saves 86,000 instructions of each start
cdef dict _EMPTY_RECORD = empty_record()


def new_record():
    """The fields of an empty record: fds are -1, all else is 0."""
    return dict(_EMPTY_RECORD, counters=dict(_EMPTY_RECORD["counters"]))


cdef tuple _COUNTERS = tuple(_EMPTY_RECORD["counters"])
cdef bytes _COUNTER_NAMES = packed(" ".join(_COUNTERS).encode())


cdef bytes packed(text):
    """A text as it stands in the record. Arguments have a mark before them: see linger."""
    if isinstance(text, list):
        return b"".join([b"+" + argument + b"\0" for argument in text]) + b"\0"
    return text + b"\0"


cdef object add_pointers(dict fields, blob, texts):
    """Make room in a record for pointers to the exit command's arguments: linger fills it."""
    arguments = texts.get("exit_argv")
    if arguments:
        blob += bytes(-(sizeof(Record) + len(blob)) % sizeof(char*))
        fields["exit_pointers"] = sizeof(Record) + len(blob)
        blob += bytes((len(arguments) + 1) * sizeof(char*))


cdef Record* record_build(dict fields, dict texts) except NULL:
    """A record in memory of its own, from fields and the texts that they name.

    KeyError for a field or text that a record does not have.
    """
    cdef Record* record = NULL
    blob = bytearray()
    fields = dict(fields)
    for name, text in texts.items():
        if text is not None:
            fields[name] = sizeof(Record) + len(blob)
            blob += packed(text)
    add_pointers(fields, blob, texts)
    fields["counter_names"] = sizeof(Record) + len(blob)
    blob += _COUNTER_NAMES
    fields["counter_count"] = len(_COUNTERS)
    fields["counters_offset"] = <char*>&record.counters - <char*>record
    fields["magic"] = record_magic()
    fields["version"] = RECORD_VERSION
    fields["size"] = sizeof(Record) + len(blob)
    if len(fields) != len(_EMPTY_RECORD):
        raise KeyError(*(name for name in fields if name not in _EMPTY_RECORD))
    record = <Record*>calloc(1, sizeof(Record) + len(blob))
    if record == NULL:
        raise MemoryError()
    record[0] = fields
    memcpy(<char*>record + sizeof(Record), <char*>blob, len(blob))
    return record


cdef char** pointers(list texts) except NULL:
    """A NULL-terminated array of the texts, which must outlive it."""
    cdef char** array = <char**>malloc((len(texts) + 1) * sizeof(char*))
    cdef Py_ssize_t i
    if array == NULL:
        raise MemoryError()
    for i in range(len(texts)):
        array[i] = texts[i]
    array[len(texts)] = NULL
    return array


def enter_monitor(dict fields, dict texts, list argv):
    """Become the monitor life, with `argv`. OSError if that cannot be.

    Returns, if at all, a 0 that this life has to return at once: then the other one begins.
    """
    return enter_life(Life.LIFE_MONITOR, record_build(fields, texts), argv)


cdef int enter_life(int life, Record* record, list argv) except -1:
    if successor != NULL:
        successor.life = life
        successor.record = record
        return 0
    raise OSError(-life_enter(life, record, pointers(argv)), "cannot enter the next life")


def hold_record(dict fields, dict texts):
    """Make a record for the linger life. The finish life has one: that which it began with."""
    global held
    held = record_build(fields, texts)


def enter_linger(int status, list argv):
    """The same for the linger life; `status` is conmon's, unless the exit command fails."""
    held.status = status
    held.sync_fd = -1
    return enter_life(Life.LIFE_LINGER, held, argv)


def go_on_in_child(int gate_read, int gate_write):
    """Return in a child that has taken this process over. OSError, without a child.

    This process ends with the status, a byte, that comes through the gate, 1 if none comes.
    """
    cdef int failure = core_go_on_in_child(gate_read, gate_write)
    if failure:
        raise OSError(-failure, "cannot go on in a child")


def monitor(dict fields, dict texts, list argv):
    """The monitor life in this very process, for when it cannot be entered; conmon's status.

    Signals must be blocked. It becomes the finish life if it can.
    """
    return conmon_monitor(record_build(fields, texts), pointers(argv), NULL)


def linger():
    """The linger life in this very process, if enter_linger failed; conmon's status."""
    return core_linger(held)


def sandbox_lacks(dict fields, dict texts):
    """What --sandbox=strict wants and cannot have here, as a sum of bits: sandbox.pxd."""
    cdef Record* record = record_build(fields, texts)
    missing = sandbox_missing(record)
    free(record)
    return missing


def forward(dict fields, dict texts, chunks, int reads=1):
    """Forward chunks of output as the monitor does, in this process; the fields afterwards.

    The log is written after so many `reads`, each a chunk: one, or up to four in a burst.

    `chunks`: pairs of stream (2 stdout, 3 stderr) and what one read returned, up to 64 KiB; or
    of 0 and a line of the ctl fifo, without its newline. `log_fd` of the record becomes the
    core's: it is closed. ValueError for a chunk that is too large.
    """
    cdef Record* record = record_build(fields, texts)
    cdef Monitor m
    monitor_open(&m, record)
    try:
        for number, (tag, data) in enumerate(chunks, 1):
            if len(data) > CHUNK:
                raise ValueError("a chunk has at most 65536 bytes")
            if tag == 0:
                log_flush(&m)
                if ctl_line(&m, data):
                    log_reopen(&m)
            else:
                core_forward(&m, tag, data, len(data))
                if number % reads == 0:
                    log_flush(&m)
        log_flush(&m)
        log_finish(&m)
        with nogil:  # it may wait for the journal, which may be a thread of the caller's
            journal_finish(&m)
            journal_wait(&m, END_PATIENCE, 0)  # what a child does for the monitor
            journal_lose(&m)
        result = record[0]
    finally:
        close(m.log.fd)
        queue_free(&m.log.queue)
        journal_close(&m)
        monitor_wind_down(&m)
        free(record)
    return result


# --- processes and signals ------------------------------------------------------------------

cdef sigset_t callers_mask


cdef void exit_on_signal(int number) noexcept nogil:
    _exit(1)


def signals_at_start():
    """SIGPIPE becomes EPIPE; SIGTERM ends a launch with status 1 (C4.4).

    SIGCHLD is set to its default: a caller that ignores it would have the kernel reap for us.
    """
    c_signal(SIGCHLD, SIG_DFL)
    c_signal(SIGPIPE, SIG_IGN)
    c_signal(SIGTERM, exit_on_signal)


def block_signals():
    """Block what the monitor takes through its signalfd; the caller's mask is remembered."""
    cdef sigset_t mask
    monitor_signals(&mask)
    sigprocmask(SIG_BLOCK, &mask, &callers_mask)


def signal_fd():
    """A signalfd (close-on-exec, non-blocking) of the blocked signals."""
    cdef sigset_t mask
    monitor_signals(&mask)
    cdef int fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK)
    if fd < 0:
        raise OSError(errno, "signalfd")
    return fd


def epoll_fd():
    """An epoll instance, close-on-exec. OSError."""
    cdef int fd = epoll_create1(EPOLL_CLOEXEC)
    if fd < 0:
        raise OSError(errno, "epoll_create1")
    return fd


def read_signal(int fd):
    """The number of the next signal of a signalfd, 0 if none is there."""
    cdef signalfd_siginfo info
    return info.ssi_signo if read(fd, &info, sizeof(info)) == sizeof(info) else 0


def getenv(bytes name not None):
    """A variable of the environment, or None. (posix.environ may be that of an image's maker.)"""
    cdef const char* value = c_getenv(name)
    return <bytes>value if value != NULL else None


def set_subreaper():
    """Become the parent of orphaned descendants. OSError."""
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        raise OSError(errno, "prctl")


def spawn(list argv, *, int null_fd, stdio, oom_score_adj=None, bint own_listen_pid=False):
    """Start the OCI runtime `argv` with the caller's environment and signal mask; its pid.

    `stdio`: for 0, 1, 2 an fd, None for /dev/null or "keep". `oom_score_adj`: what the
    runtime runs with, None to inherit. OSError if the fork fails.
    """
    cdef Spawn plan
    cdef pid_t pid
    cdef int i
    for i in range(3):
        wanted = stdio[i]
        plan.stdio[i] = (
            SPAWN_NULL if wanted is None else SPAWN_KEEP if wanted == "keep" else wanted)
    plan.argv = pointers(argv)
    plan.null_fd = null_fd
    plan.restore_oom_score = oom_score_adj is not None
    plan.oom_score_adj = oom_score_adj or 0
    plan.own_listen_pid = own_listen_pid
    plan.mask = &callers_mask
    pid = spawn_runtime(&plan)
    free(plan.argv)
    if pid < 0:
        raise OSError(-pid, "fork")
    return pid


def watch_kills(pid_t pid):
    """Begin to watch for kills in a process's memory cgroup.

    The record's fields of that, and errno where an fd could not be had, else 0.
    """
    cdef KillWatch kills
    cdef int error = core_watch_kills(&kills, pid)
    return {
        "oom_event_fd": kills.event_fd,
        "oom_counter_fd": kills.counter_fd,
        "oom_announced": kills.announced,
        "oom_kills": kills.kills,
    }, error


# --- files and sockets ----------------------------------------------------------------------

def write_atomically(bytes path not None, bytes data not None):
    """Make `path` hold exactly `data`, mode 0644, by rename. OSError, and then nothing is left."""
    cdef int failure = core_write_atomically(path, data, len(data))
    if failure:
        raise OSError(-failure, "cannot write", path)


def reserve_exit_file(bytes directory not None):
    """An fd of a file without a name in `directory`, with room for an exit code. OSError."""
    cdef int fd = exit_file_reserve(directory)
    if fd < 0:
        raise OSError(-fd, "cannot reserve a file", directory)
    return fd


def write_exit_file(int reserved, bytes path not None, int code):
    """Make `path` hold the code, mode 0644; `reserved`: from reserve_exit_file, or -1.

    It is tried for two seconds. OSError.
    """
    cdef const char* name = path
    cdef int failure
    with nogil:
        failure = exit_file_write(reserved, name, code)
    if failure:
        raise OSError(-failure, "cannot write", path)


def hold_name(bytes path not None):
    """An fd that tells what is called `path`, be it a symlink, from what is later; -1: none."""
    return own_name_hold(path)


def remove_own_name(bytes path not None, int held):
    """Remove a name that may be gone, unless it is another file's than `held` by now. OSError."""
    cdef int failure = own_name_remove(path, held)
    if failure:
        raise OSError(-failure, "cannot remove", path)


def remove_own_link(bytes path not None):
    """Remove a symlink that may be gone, unless it leads to another process's fd. OSError."""
    cdef int failure = own_link_remove(path)
    if failure:
        raise OSError(-failure, "cannot remove", path)


def close_fd(int fd):
    """Close an fd that may be -1. There is no error: whatever close(2) says, it is closed."""
    if fd >= 0:
        close(fd)


def bind_datagram(bytes path not None, int mode):
    """A datagram socket at `path` (at most 107 bytes) with this mode. OSError."""
    cdef int fd = bind_unix(SOCK_DGRAM, path, mode)
    return fd


def unused_path(bytes prefix not None):
    """A path of `prefix` and six characters that no file has. OSError."""
    template = prefix + b"XXXXXX"
    cdef int fd = mkostemp(template, O_CLOEXEC)
    if fd < 0:
        raise OSError(errno, "mkostemp", prefix)
    close(fd)
    unlink(template)
    return template


def listen_seqpacket(bytes path not None, int backlog):
    """A listening SOCK_SEQPACKET socket at `path` (at most 107 bytes), mode 0700. OSError.

    Who connects to it cannot pass fds (EPERM; since Linux 6.16): passed.pxd says why.
    """
    return listen_unix(SOCK_SEQPACKET, path, backlog, False)


def listen_stream(bytes path not None, int backlog):
    """A listening SOCK_STREAM socket at `path` (at most 107 bytes), mode 0700. OSError."""
    return listen_unix(SOCK_STREAM, path, backlog, True)


def close_listener(int listener):
    """Close a listening socket (-1: none); who has connected and waits sees an end of file."""
    listener_close(listener)


def accept(int listener):
    """The next connection of a socket, non-blocking and close-on-exec. OSError."""
    cdef int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd < 0:
        raise OSError(errno, "accept")
    return fd


def receive_fds(int fd):
    """The fds, at most 8, that the next message on a socket carries (SCM_RIGHTS). OSError."""
    cdef char[CMSG_ROOM] control
    cdef char data[4096]
    cdef iovec part
    cdef msghdr message
    cdef cmsghdr* header
    memset(&message, 0, sizeof(message))
    part.iov_base = data
    part.iov_len = sizeof(data)
    message.msg_iov = &part
    message.msg_iovlen = 1
    message.msg_control = control
    message.msg_controllen = sizeof(control)
    if recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0:
        raise OSError(errno, "recvmsg")
    cdef list fds = []
    cdef size_t i
    header = CMSG_FIRSTHDR(&message)
    while header != NULL:
        if header.cmsg_level == SOL_SOCKET and header.cmsg_type == SCM_RIGHTS:
            for i in range((header.cmsg_len - CMSG_LEN(0)) // sizeof(int)):
                fds.append((<int*>CMSG_DATA(header))[i])
        header = CMSG_NXTHDR(&message, header)
    return fds


def prepare_terminal(int fd):
    """Have the terminal turn newlines into CR LF, and never block us. OSError."""
    cdef termios settings
    if fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0:
        raise OSError(errno, "fcntl")
    if tcgetattr(fd, &settings) < 0:
        raise OSError(errno, "tcgetattr")
    settings.c_oflag |= ONLCR
    if tcsetattr(fd, TCSANOW, &settings) < 0:
        raise OSError(errno, "tcsetattr")


def file_type(bytes path not None, bint follow):
    """The type of a file, of st_mode (inode(7)); `follow`: of what a symlink leads to. OSError.

    posix.stat would do, and bring times and inode of files of the build's machine into the
    interpreter's memory, and so into its image: two builds would differ.
    """
    cdef stat_t about
    if fstatat(AT_FDCWD, path, &about, 0 if follow else AT_SYMLINK_NOFOLLOW) < 0:
        raise OSError(errno, "stat", path)
    return about.st_mode & S_IFMT


def fd_type_and_size(int fd):
    """The type of what is open, as `file_type`, and its size in bytes. OSError."""
    cdef stat_t about
    if fstat(fd, &about) < 0:
        raise OSError(errno, "fstat")
    return about.st_mode & S_IFMT, about.st_size


def resize_of(bytes line not None, bint is_ctl):
    """The rows and columns that a line of ctl, else of winsz, asks for; None if it is no resize
    that can be done. `line` is without its newline."""
    cdef int size[2]
    return (size[0], size[1]) if parse_resize(line, is_ctl, size) else None


def resize_terminal(int fd, int rows, int columns):
    """Tell a terminal its size. OSError."""
    cdef int failure = set_terminal_size(fd, rows, columns)
    if failure:
        raise OSError(-failure, "TIOCSWINSZ")


cdef int bind_unix(int kind, bytes path, int mode) except -1:
    cdef sockaddr_un address
    cdef int fd, failure
    cdef mode_t before
    if len(path) >= sizeof(address.sun_path):
        raise OSError(ENAMETOOLONG, "socket path", path)
    memset(&address, 0, sizeof(address))
    address.sun_family = AF_UNIX
    memcpy(address.sun_path, <char*>path, len(path))
    fd = socket(AF_UNIX, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        raise OSError(errno, "socket")
    # The name gets the socket's mode less the umask's, so it never has other rights than it is to
    # have. And nothing is done by path: whoever may write to the directory could lead that astray.
    fchmod(fd, mode)
    before = umask(0)
    failure = errno if bind(fd, <sockaddr*>&address, sizeof(address)) < 0 else 0
    umask(before)
    if failure:
        close(fd)
        raise OSError(failure, "bind", path)
    return fd


cdef object listen_unix(int kind, bytes path, int backlog, bint takes_fds):
    cdef int fd = bind_unix(kind, path, 0o700)
    cdef int no = 0
    if not takes_fds:
        setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no))
    if listen(fd, backlog) < 0:
        failure = errno
        unlink(path)
        close(fd)
        raise OSError(failure, "listen", path)
    return fd


def wait_readable(list fds, int timeout_ms):
    """Those of `fds` that can be read (or are at their end); [] after `timeout_ms`, -1: never.

    They must not block: where the kernel cannot tell, all of them are returned.
    """
    cdef pollfd entries[8]
    cdef int i
    cdef int count = len(fds)
    if count > 8:
        raise ValueError("at most 8 fds")
    for i in range(count):
        entries[i].fd = fds[i]
        entries[i].events = 1
        entries[i].revents = 0
    if poll(entries, count, timeout_ms) < 0:
        if errno == EINTR:
            return []
        # Without memory for it; the container may run by now. They do not block: look at them all.
        pause_ms(20)
        return list(fds)
    return [entries[i].fd for i in range(count) if entries[i].revents]


def send_syslog(bint is_error, bytes text not None):
    """One message to /dev/log; False where nobody took it."""
    return syslog_send(8 | 3 if is_error else 8 | 6, text) == 0


def locale_is_utf8():
    """Whether the environment's locale speaks UTF-8."""
    return (setlocale(LC_CTYPE, b"") != NULL
            and strcmp(nl_langinfo(CODESET), b"UTF-8") == 0)
