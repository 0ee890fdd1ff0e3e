"""The k8s-file log: records into one buffer, one write per chunk, size limits, reopening.

How they get into the file is in logwrite.pxd.
"""

from libc.errno cimport EEXIST, EIO, ELOOP, ENAMETOOLONG, errno
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memchr, strerror, strrchr

from conmon.core.atomicfile cimport PATH_LIMIT
from conmon.core.crilog cimport header_set, put_record
from conmon.core.diag cimport LEVEL_WARNING, say, say_errno
from conmon.core.kernel cimport (
    AT_FDCWD, FALLOC_FL_KEEP_SIZE, close, fallocate, ftruncate, renameat, snprintf, unlinkat,
)
from conmon.core.loop cimport source_init
from conmon.core.logwait cimport is_regular, log_unstall, log_wait_open
from conmon.core.logwrite cimport file_size, log_drain, log_flush, log_lose_begun, on_log
from conmon.core.queue cimport queue_size
from conmon.core.record cimport Record, record_text
from conmon.core.rotate cimport (
    NAMED_OTHER, NAMED_OURS, create_anew, log_named, log_open_named, rotate_files,
)
from conmon.core.state cimport HEADER, LOG_BUFFER, RECORD_DATA, Log, Monitor

cdef enum:
    # bytes that the old log grows after a rotation that failed, until the next attempt: a tenth
    # of the limit within these. An attempt costs what logging some kB does.
    RETRY_MIN = 4 << 10
    RETRY_MAX = 1 << 20


cdef inline void log_limit(Log* log, const Record* record) noexcept nogil:
    """Set how long the log may grow. What is no regular file has no end, and is never replaced."""
    log.limit = INT64_MAX
    if record.log_size_max > 0 and log.name != NULL and is_regular(log.fd):
        log.limit = record.log_size_max


cdef inline void log_open(Monitor* m) noexcept nogil:
    """Set the log up: where it is, how long it may grow, how it is waited for."""
    cdef Log* log = &m.log
    cdef Record* record = m.record
    cdef const char* path = record_text(record, record.log_path)
    cdef const char* slash
    log.fd = record.log_fd
    log.second = -1
    log.dir = AT_FDCWD
    log.name = path
    if record.log_dir_fd >= 0 and path != NULL:
        log.dir = record.log_dir_fd
        slash = strrchr(path, c"/")
        log.name = slash + 1 if slash != NULL else path
    source_init(&log.source, -1, on_log)
    if log.fd >= 0:
        log_limit(log, record)
        log_wait_open(log)


cdef inline void log_replace(Monitor* m, int fd) noexcept nogil:
    """Go on in `fd`, with what the old file has not taken."""
    cdef Log* log = &m.log
    log_lose_begun(log, m.record)
    if log.lost and log.failure == 0:
        log.failure = EIO
    log_unstall(m)
    close(log.fd)
    log.fd = fd
    m.record.log_fd = fd
    m.record.log_size = file_size(fd)
    log_limit(log, m.record)
    log_wait_open(log)
    if queue_size(&log.queue):
        log_drain(m)


cdef inline int put_anew(const Log* log) noexcept nogil:
    """Put a new file in the place of whatever has the log's name; its fd or -errno."""
    cdef char temporary[PATH_LIMIT]
    cdef int failure
    cdef int fd
    if <size_t>snprintf(temporary, PATH_LIMIT, b"%s.tmp", log.name) >= PATH_LIMIT:
        return -ENAMETOOLONG
    fd = create_anew(log, temporary)
    if fd == -EEXIST and unlinkat(log.dir, temporary, 0) == 0:
        fd = create_anew(log, temporary)
    if fd >= 0 and renameat(log.dir, temporary, log.dir, log.name) < 0:
        failure = -errno
        close(fd)
        unlinkat(log.dir, temporary, 0)
        return failure
    return fd


cdef inline void log_begin_anew(Monitor* m) noexcept nogil:
    """Replace the full log by an empty one (C10).

    Where no new file can be put in its place, the file itself is emptied: the limit holds. A
    file that somebody has moved away is theirs, and keeps what it has.
    """
    cdef Log* log = &m.log
    cdef int fd = put_anew(log)
    if fd >= 0:
        log_replace(m, fd)
        log.rotation_failure = 0
    else:
        if log.rotation_failure != -fd:
            say_errno(
                m.record, LEVEL_WARNING, b"Failed to replace the log file, emptying it instead",
                strerror(-fd))
        log.rotation_failure = -fd
        if log_named(log) == NAMED_OURS:
            ftruncate(log.fd, 0)
        m.record.log_size = 0
    m.record.counters.truncations += 1


cdef inline void log_rotation_failed(Log* log, Record* record, int failure) noexcept nogil:
    """Go on in the old file, and try again when it has grown some more; said once."""
    cdef int64_t more = min(max(record.log_size_max // 10, <int64_t>RETRY_MIN), <int64_t>RETRY_MAX)
    record.counters.rotation_failures += 1
    if record.log_size_max > 0:
        log.limit = max(record.log_size_max, record.log_size + more)
    if log.rotation_failure != failure:
        say_errno(
            record, LEVEL_WARNING, b"Failed to rotate the log file, continuing in the old one",
            strerror(failure))
    log.rotation_failure = failure


cdef inline void log_rotate(Monitor* m) noexcept nogil:
    """Go on in a new log, and keep the old one as .1 (C11).

    A file that somebody has put in the log's place is gone on in as it is, and one that somebody
    has emptied (copytruncate) stays: there is nothing to keep.
    """
    cdef Log* log = &m.log
    cdef Record* record = m.record
    cdef int named = log_named(log)
    cdef int fd
    if named == NAMED_OURS and file_size(log.fd) == 0:
        record.log_size = 0
        return
    if named == NAMED_OTHER:
        fd = log_open_named(log)
    else:
        fd = rotate_files(log, record.log_max_files)
    if fd < 0:
        log_rotation_failed(log, record, -fd)
        return
    log_replace(m, fd)
    if named == NAMED_OURS:
        record.counters.rotations += 1
    if log.rotation_failure:
        say(record, LEVEL_WARNING, b"Rotating the log file works again")
        log.rotation_failure = 0


cdef inline size_t log_room(const Log* log, const Record* record) noexcept nogil:
    """Bytes that the buffer may hold: until it is full, or the log with it."""
    return max(<int64_t>0, min(log.limit - record.log_size, <int64_t>LOG_BUFFER))


cdef inline bint log_fits(const Log* log, const Record* record, int64_t size) noexcept nogil:
    """Whether `size` bytes more are within the limit; the first record of a file always is."""
    return record.log_size == 0 or record.log_size + size <= log.limit


cdef inline void log_make_room(Monitor* m, int64_t size) noexcept nogil:
    """Write what is buffered, and begin another log if that was one record too much for it."""
    cdef Record* record = m.record
    log_flush(m)
    # not decided before the write: one that fails leaves less in the file, perhaps nothing, and
    # moving that aside would push good old logs over the end
    if log_fits(&m.log, record, size):
        return
    record.log_size = min(record.log_size, file_size(m.log.fd))  # somebody may have cut it
    if log_fits(&m.log, record, size):
        return
    if record.log_max_files > 0:
        log_rotate(m)
    else:
        log_begin_anew(m)


cdef inline int log_open_again(Log* log) noexcept nogil:
    """Open what has the log's name, make it if nothing has; its fd or -errno.

    A symbolic link there is somebody's who came after us: it is replaced, never followed.
    """
    cdef int fd = log_open_named(log)
    if fd == -ELOOP and log.dir == AT_FDCWD and is_regular(log.fd):
        return put_anew(log)
    return fd


cdef inline void log_show_change(const Log* log) noexcept nogil:
    """Have watchers of the log see a change, without one: allocate a byte that it has.

    Where a file system cannot, the file is cut to its present size. That comes second because it
    could cut off records if somebody empties the file at that moment (copytruncate).
    """
    cdef int64_t size = file_size(log.fd)
    if size == 0 or fallocate(log.fd, FALLOC_FL_KEEP_SIZE, 0, 1) < 0:
        ftruncate(log.fd, size)


cdef inline void log_reopen(Monitor* m) noexcept nogil:
    """ctl "2 0 0": the log was moved away, so go on in a file of its name, made if need be.

    Nothing is lost where it is still in its place: it stays there (C11.5), or is rotated. CRI-O
    waits without end until it sees that a file of that name was made or changed (D2).
    """
    cdef Log* log = &m.log
    cdef Record* record = m.record
    cdef int fd
    if log.fd < 0:
        return
    record.counters.reopens += 1
    if record.log_max_files > 0:
        log_rotate(m)
    elif log_named(log) != NAMED_OURS:
        fd = log_open_again(log)
        if fd < 0:
            say_errno(record, LEVEL_WARNING, b"Failed to reopen the log file", strerror(-fd))
            return
        log_replace(m, fd)
    log_show_change(log)


cdef inline void log_chunk(Monitor* m, char tag, const char* data, size_t size) noexcept nogil:
    """Put what one read of stream 2 or 3 returned into the buffer (C8.2); log_flush writes it.

    A record per line; P for a piece without its newline: at the end of the read, or of
    RECORD_DATA bytes.
    """
    cdef Log* log = &m.log
    cdef Record* record = m.record
    cdef const char* end = data + size
    cdef const char* newline
    cdef size_t line, total
    cdef size_t room = log_room(log, record)
    cdef bint partial
    header_set(log, tag)
    while data < end:
        line = min(<size_t>(end - data), <size_t>RECORD_DATA)
        newline = <const char*>memchr(data, c"\n", line)
        partial = newline == NULL
        if not partial:
            line = newline + 1 - data
        total = HEADER + line + partial
        if (record.log_global_size_max > 0
                and record.log_total + <int64_t>log.used >= record.log_global_size_max):
            record.counters.records_dropped += 1
            record.counters.bytes_dropped += line
            data += line
            continue
        if log.used + total > room:
            log_make_room(m, total)
            room = log_room(log, record)
        log.used += put_record(log.buffer + log.used, log.header, data, line, partial)
        record.counters.records += 1
        data += line
