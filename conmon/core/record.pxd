"""The handoff record: all that one life of conmon passes to the next.

A record is the struct `Record`, followed by a blob of bytes. Fields that name text hold the
offset of a NUL-terminated string, counted from the start of the record; 0 is "none". The
struct is the one definition: the Python lives see it as a dict of the same names.

Between lives of one process it stays where it is. Over an exec it goes in a sealed memfd: the
life and the memfd's number travel in one environment variable, `_CONMON_LIFE=life:fd`.
It is believed only if the fd is a memfd with all seals set, the right magic, and no text that
leads out of it; and it is taken out of the environment before anything else happens.
"""

from libc.errno cimport E2BIG, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, strtol
from libc.string cimport memcpy, strlen, strncmp

from conmon.core.kernel cimport (
    AT_EMPTY_PATH, F_ADD_SEALS, F_GET_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK,
    F_SEAL_WRITE, F_SETFD, FD_CLOEXEC, MFD_ALLOW_SEALING, MFD_CLOEXEC, O_CLOEXEC, O_PATH,
    SYS_execveat, close, environ, execve, fcntl, memfd_create, open, pread, snprintf, syscall,
    write,
)

cdef enum:
    RECORD_VERSION = 1
    RECORD_LIMIT = 32 << 20  # bytes; the longest argument list that execve takes, 6 MiB of
                             # bytes and of pointers to strings that may be empty, fits

cdef enum:
    FINISH_FDS = 5

cdef enum Life:
    LIFE_NONE = -1
    LIFE_LAUNCH = 0
    LIFE_MONITOR = 1
    LIFE_FINISH = 2
    LIFE_LINGER = 3

# Published to readers by name: counters.pxd.
ctypedef struct Counters:
    uint64_t wake_ups       # rounds of the event loop
    uint64_t bytes_in       # read from the container's stdout and stderr
    uint64_t records        # records written to the log
    uint64_t bytes_logged   # bytes written to the log, headers included
    uint64_t bytes_dropped  # container bytes that could not be logged
    uint64_t records_dropped
    uint64_t truncations    # the log began anew because of its size limit
    uint64_t reopens        # the log was reopened on request
    uint64_t stalls         # a stream was paused for a slow attach client
    uint64_t clients        # attach clients accepted
    uint64_t clients_now    # attach clients connected
    uint64_t clients_dropped
    uint64_t unreported     # messages of conmon's own that reached nobody
    uint64_t entries        # entries that the journal took
    uint64_t entries_dropped
    uint64_t entry_bytes_dropped  # container bytes that the journal did not take
    uint64_t journal_stalls  # the streams were paused for the journal
    uint64_t rotations      # the log was moved to .1 and begun anew
    uint64_t rotation_failures  # attempts that failed at some step
    uint64_t log_stalls     # the streams were paused for a log that took no more
    uint64_t sandbox        # no count: bits of what the monitor has given up (sandbox.pxd)

ctypedef struct Record:
    uint64_t magic
    uint32_t version
    uint32_t size           # bytes, blob included
    uint32_t counters_offset
    uint32_t counter_count
    uint32_t counter_names  # text: names in the counters' order, separated by spaces

    # fds by role; -1 is "none"
    int32_t stdout_fd
    int32_t stderr_fd
    int32_t stdin_fd
    int32_t log_fd
    int32_t log_dir_fd      # O_PATH: the log's directory, where names must not change under us
    int32_t attach_fd       # listening socket
    int32_t ctl_fd
    int32_t winsz_fd
    int32_t sync_fd
    int32_t notify_fd       # datagram socket in the bundle
    int32_t signal_fd       # signalfd of what the monitor is told by signals
    int32_t epoll_fd
    int32_t held_fd         # memfd: what stdout, then stderr wrote before the monitor began
    int32_t persist_exit_fd  # reserved for the exit files: exitfile.pxd
    int32_t exit_file_fd
    int32_t attach_path_fd  # O_PATH: the attach socket and its link. They tell at the end whether
    int32_t attach_link_fd  # the names are still ours: ownnames.pxd
    int32_t oom_event_fd    # readable when there may have been a kill: memcg.pxd
    int32_t oom_counter_fd
    int64_t held_stdout_size
    int64_t held_stderr_size

    # the container
    int64_t timeout_ms      # until it is killed; 0 is "never"
    int32_t container_pid
    int32_t terminal        # stdout_fd and stdin_fd are a pty's master
    int32_t api_version
    int32_t exec_mode
    int64_t oom_kills       # counted before the container ran
    int32_t oom_announced   # the event comes before the kill
    int32_t has_stdin       # -i: a client's end of file closes the container's stdin
    int32_t leave_stdin_open

    # the log
    int64_t log_size_max    # bytes; <= 0 is "no limit"
    int64_t log_global_size_max
    int64_t log_size        # bytes in the log file now
    int64_t log_total       # bytes that count towards the global limit
    int32_t sync_log        # fsync at the end
    int32_t log_latency     # ms that lines may wait to be logged together; 0: none
    int32_t log_max_files   # old logs that rotation keeps; 0: no rotation, the log is emptied
    uint32_t journal_fields_size
    int32_t journal_no_partial  # entries are not marked as partial

    # attach
    int32_t slow_client_seconds  # until one that takes nothing is dropped; 0: never

    # conmon's own messages
    int32_t log_level       # diag.pxd
    int32_t use_syslog

    int32_t sandbox         # how much is given up before the container is listened to: sandbox.pxd
    uint64_t capabilities   # that were effective when they were lowered; 0: they were not

    # the end
    int32_t ended           # the container's end was seen
    int32_t exit_code       # as in the exit file: -1 after a timeout
    int32_t timed_out
    int32_t status          # conmon's own exit status (linger)
    int32_t exit_delay      # seconds
    int32_t oom_score_adj   # of the caller, for what we start
    int32_t restore_oom_score
    int32_t hurried         # a signal that came after the container's end: no delay

    # text: record_sound looks through these, from the first to the last
    uint32_t cid
    uint32_t log_path
    uint32_t persist_dir
    uint32_t exit_dir
    uint32_t attach_path
    uint32_t attach_link    # the symlink to the bundle, if we made one
    uint32_t bundle
    uint32_t counters_path  # the symlink to the published record
    uint32_t notify_host    # the host's notify socket
    uint32_t syslog_tag
    uint32_t journal_socket  # no journald log without it
    uint32_t journal_fields  # of every entry, as they are sent; may hold NULs
    uint32_t ctl_early      # read from the fifos while the runtime ran, and left to the monitor
    uint32_t winsz_early
    uint32_t exit_argv      # strings one after the other, ended by an empty one
    uint32_t exit_pointers  # no text: room for a pointer to each of them and a NULL

    Counters counters


ctypedef void (*Leave)() noexcept nogil

# What a life leaves to be done in the same process; LIFE_NONE is "nothing".
cdef struct Next:
    int life
    Record* record
    Leave leave             # gives back what the life before has left in memory; NULL: nothing


cdef inline uint64_t record_magic() noexcept nogil:
    return 0x434f4e4d4f4e5243  # "CONMONRC"


cdef inline const char* record_text(const Record* record, uint32_t offset) noexcept nogil:
    """The string at `offset`, NULL where there is none."""
    if offset == 0:
        return NULL
    return <const char*>record + offset


cdef inline int record_seal(const Record* record) noexcept nogil:
    """Write the record into a sealed memfd; its fd, or -errno."""
    cdef int fd = memfd_create(b"conmon-record", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    cdef size_t done = 0
    cdef ssize_t n
    cdef int failure = 0
    if fd < 0:
        return -errno
    while done < record.size and failure == 0:
        n = write(fd, <const char*>record + done, record.size - done)
        if n > 0:
            done += n
        elif errno != EINTR:
            failure = errno
    if failure == 0 and fcntl(fd, F_ADD_SEALS, record_seals()) < 0:
        failure = errno
    if failure:
        close(fd)
        return -failure
    return fd


cdef inline int record_seals() noexcept nogil:
    return F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE


cdef inline bint is_sealed(int fd) noexcept nogil:
    """Whether it has these seals. The kernel may have set more: F_SEAL_EXEC (vm.memfd_noexec)."""
    cdef int seals = fcntl(fd, F_GET_SEALS)
    return seals >= 0 and seals & record_seals() == record_seals()


cdef inline bint record_text_sound(const Record* record, uint32_t offset) noexcept nogil:
    """Whether a text begins within the record, where it also ends: the last byte is a NUL."""
    return offset == 0 or sizeof(Record) <= offset < record.size


cdef inline bint record_arguments_sound(const Record* record) noexcept nogil:
    """Whether the empty string that ends `exit_argv` is in the record, and room for pointers."""
    cdef size_t at = record.exit_argv
    cdef size_t pointers = 1
    while at and at < record.size and (<const char*>record)[at]:
        at += strlen(<const char*>record + at) + 1
        pointers += 1
    return at < record.size and (
        record.exit_argv == 0 or record.exit_pointers % sizeof(char*) == 0
        and sizeof(Record) <= record.exit_pointers
        and record.exit_pointers + pointers * sizeof(char*) <= record.size)


cdef inline bint record_sound(const Record* record) noexcept nogil:
    """Whether all that the record names stands within it."""
    cdef const uint32_t* offset = &record.cid  # the first of the texts
    if (<const char*>record)[record.size - 1] or not record_text_sound(
            record, record.counter_names):
        return False
    while offset <= &record.exit_argv:
        if not record_text_sound(record, offset[0]):
            return False
        offset += 1
    return (record_arguments_sound(record)
            and <uint64_t>record.journal_fields + record.journal_fields_size <= record.size)


cdef inline Record* record_load(int fd) noexcept nogil:
    """A copy of the record in `fd`, which is closed; NULL if it is none of ours."""
    cdef Record head
    cdef Record* record
    if (not is_sealed(fd)
            or pread(fd, &head, sizeof(head), 0) != sizeof(head)
            or head.magic != record_magic() or head.version != RECORD_VERSION
            or head.size < sizeof(head) or head.size > RECORD_LIMIT):
        return NULL
    record = <Record*>malloc(head.size)
    if (record == NULL or pread(fd, record, head.size, 0) != <ssize_t>head.size
            or not record_sound(record)):
        free(record)
        return NULL
    close(fd)
    return record


cdef inline const char* life_variable() noexcept nogil:
    return b"_CONMON_LIFE="


cdef inline const char* life_name(int life) noexcept nogil:
    if life == LIFE_MONITOR:
        return b"monitor"
    if life == LIFE_FINISH:
        return b"finish"
    return b"linger"


cdef inline int life_take(Record** record) noexcept nogil:
    """Which life this process is in, by its environment; the variable is removed from it."""
    cdef size_t length = strlen(life_variable())
    cdef size_t name
    cdef char* value = NULL
    cdef char* end = NULL
    cdef char** entry = environ
    cdef char** kept = environ
    cdef int life
    record[0] = NULL
    while entry[0] != NULL:
        if strncmp(entry[0], life_variable(), length) == 0:
            value = entry[0] + length
        else:
            kept[0] = entry[0]
            kept += 1
        entry += 1
    kept[0] = NULL
    if value == NULL:
        return LIFE_LAUNCH
    for life in range(LIFE_MONITOR, LIFE_LINGER + 1):
        name = strlen(life_name(life))
        if strncmp(value, life_name(life), name) == 0 and value[name] == c":":
            record[0] = record_load(<int>strtol(value + name + 1, &end, 10))
            if record[0] != NULL:
                return life
    return LIFE_LAUNCH


cdef inline void keep_over_exec(int fd, bint keep) noexcept nogil:
    if fd >= 0:
        fcntl(fd, F_SETFD, 0 if keep else FD_CLOEXEC)


cdef inline void keep_fds_over_exec(const Record* record, bint keep) noexcept nogil:
    """Clear (or set) close-on-exec on exactly the fds that the record names."""
    keep_over_exec(record.stdout_fd, keep)
    keep_over_exec(record.stderr_fd, keep)
    keep_over_exec(record.stdin_fd, keep)
    keep_over_exec(record.log_fd, keep)
    keep_over_exec(record.log_dir_fd, keep)
    keep_over_exec(record.attach_fd, keep)
    keep_over_exec(record.ctl_fd, keep)
    keep_over_exec(record.winsz_fd, keep)
    keep_over_exec(record.sync_fd, keep)
    keep_over_exec(record.held_fd, keep)
    keep_over_exec(record.notify_fd, keep)
    keep_over_exec(record.signal_fd, keep)
    keep_over_exec(record.epoll_fd, keep)
    keep_over_exec(record.oom_event_fd, keep)
    keep_over_exec(record.oom_counter_fd, keep)
    keep_over_exec(record.persist_exit_fd, keep)
    keep_over_exec(record.exit_file_fd, keep)
    keep_over_exec(record.attach_path_fd, keep)
    keep_over_exec(record.attach_link_fd, keep)


cdef inline void record_forget_fds(Record* record) noexcept nogil:
    """Set every fd to "none" but those of the finish life."""
    record.stdout_fd = record.stderr_fd = record.stdin_fd = record.log_fd = -1
    record.attach_fd = record.ctl_fd = record.winsz_fd = record.held_fd = -1
    record.notify_fd = record.log_dir_fd = record.signal_fd = record.epoll_fd = -1
    record.oom_event_fd = record.oom_counter_fd = -1


cdef inline int record_finish_fds(const Record* record, int* fds) noexcept nogil:
    """The fds that go on to the finish life, at most FINISH_FDS; how many."""
    fds[0] = record.sync_fd
    fds[1] = record.persist_exit_fd
    fds[2] = record.exit_file_fd
    fds[3] = record.attach_path_fd
    fds[4] = record.attach_link_fd
    return FINISH_FDS


cdef inline void exec_self(char** argv, char** environment) noexcept nogil:
    """Execute the inode that we run from, also after an upgrade replaced the file.

    By its fd first: since Linux 6.14 the process is then called as the file is. By the name
    /proc/self/exe it is called "exe" until it says otherwise, and a journal may note that.
    """
    cdef int fd = open(b"/proc/self/exe", O_PATH | O_CLOEXEC)
    if fd >= 0:
        syscall(SYS_execveat, fd, b"", argv, environment, AT_EMPTY_PATH)
        close(fd)
    execve(b"/proc/self/exe", argv, environment)


cdef inline int life_enter(int life, const Record* record, char** argv) noexcept nogil:
    """Become the given life of conmon. Returns only on failure: -errno."""
    cdef char variable[64]
    cdef size_t count = 0
    cdef char** environment
    cdef int failure
    cdef int fd
    if record.size > RECORD_LIMIT:
        return -E2BIG
    fd = record_seal(record)
    if fd < 0:
        return fd
    while environ[count] != NULL:
        count += 1
    environment = <char**>malloc((count + 2) * sizeof(char*))
    if environment == NULL:
        close(fd)
        return -errno
    memcpy(environment, environ, count * sizeof(char*))
    snprintf(variable, sizeof(variable), b"%s%s:%d", life_variable(), life_name(life), fd)
    environment[count] = variable
    environment[count + 1] = NULL
    keep_over_exec(fd, True)
    keep_fds_over_exec(record, True)
    exec_self(argv, environment)
    failure = errno
    keep_fds_over_exec(record, False)
    free(environment)
    close(fd)
    return -failure
