"""The k8s-file log: records into one buffer, one write per chunk, size limits, reopening.

Failures do not stop the container. A write that fails half-way is rolled back to the last whole
record, what could not be logged is counted, and when the file takes writes again a marker
record says how much is missing.
"""

from libc.errno cimport EEXIST, EINTR, EIO, ENAMETOOLONG, errno
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport memchr, memcpy, memrchr, strerror, strlen, strrchr

from conmon.core.atomicfile cimport PATH_LIMIT
from conmon.core.crilog cimport header_set, put_record
from conmon.core.diag cimport LEVEL_ERROR, LEVEL_WARNING, say, say_errno
from conmon.core.kernel cimport (
    AT_FDCWD, S_ISREG, close, fstat, ftruncate, renameat, snprintf, stat_t, unlinkat, write,
)
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


cdef inline int64_t file_size(int fd) noexcept nogil:
    """Bytes in a regular file, 0 for anything else."""
    cdef stat_t about
    if fstat(fd, &about) < 0 or not S_ISREG(about.st_mode):
        return 0
    return about.st_size


cdef inline int log_write(
        Log* log, Record* record, const char* data, size_t size, size_t* written) noexcept nogil:
    """Write whole records; 0 or errno. `*written` bytes, never a part of a record, are in."""
    cdef size_t done = 0
    cdef size_t whole
    cdef ssize_t n
    cdef int failure = 0
    cdef const char* newline
    while done < size and failure == 0:
        n = write(log.fd, data + done, size - done)
        if n > 0:
            done += n
        elif n == 0:
            failure = EIO
        elif errno != EINTR:
            failure = errno
    if failure and done:
        # a record holds exactly one newline, its last byte
        newline = <const char*>memrchr(data, c"\n", done)
        whole = newline - data + 1 if newline != NULL else 0
        if whole < done and ftruncate(log.fd, file_size(log.fd) - (done - whole)) == 0:
            done = whole
    record.log_size += done
    record.log_total += done
    record.counters.bytes_logged += done
    written[0] = done
    return failure


cdef inline void log_count_lost(
        Log* log, Record* record, const char* data, size_t size) noexcept nogil:
    """Count records that were formatted but not written."""
    cdef const char* end = data + size
    cdef const char* newline
    cdef size_t payload
    while data < end:
        newline = <const char*>memchr(data, c"\n", end - data)
        payload = (newline + 1 if newline != NULL else end) - data
        record.counters.records_dropped += 1
        if payload > HEADER:
            record.counters.bytes_dropped += payload - HEADER
            log.lost += payload - HEADER
        data += payload


cdef inline int log_write_marker(Log* log, Record* record) noexcept nogil:
    """Say in the log how much is missing from it; 0 or errno."""
    cdef char text[192]
    cdef char line[256]
    cdef char header[HEADER + 3]
    cdef size_t size, written
    snprintf(
        text, sizeof(text), b"conmon: %llu bytes of output were not logged: %s\n",
        <unsigned long long>log.lost, strerror(log.failure))
    # in the middle of a chunk, whose records have one time and stream
    memcpy(header, log.header, sizeof(header))
    header_set(log, 3)
    size = put_record(line, log.header, text, strlen(text), False)
    memcpy(log.header, header, sizeof(header))
    return log_write(log, record, line, size, &written)


cdef inline void log_flush(Monitor* m) noexcept nogil:
    """Write what is buffered."""
    cdef Log* log = &m.log
    cdef Record* record = m.record
    cdef int failure = 0
    cdef size_t written = 0
    cdef size_t size = log.used
    if size == 0:
        return
    m.touched = max(m.touched, size)
    log.used = 0
    if log.failure:
        failure = log_write_marker(log, record)
        if failure == 0:
            say(record, LEVEL_WARNING, b"Writing to the log file works again")
            log.failure = 0
            log.lost = 0
    if failure == 0:
        failure = log_write(log, record, log.buffer, size, &written)
    if failure:
        log_count_lost(log, record, log.buffer + written, size - written)
        if log.failure == 0:
            say_errno(record, LEVEL_ERROR, b"Failed to write to the log file", strerror(failure))
        log.failure = failure


cdef inline void log_finish(Monitor* m) noexcept nogil:
    """Before the end: where records are missing, the log should say so if it can."""
    if m.log.fd >= 0 and m.log.failure:
        log_write_marker(&m.log, m.record)


cdef inline void log_limits(Log* log, Record* record) noexcept nogil:
    """Where the log is and how long it may grow."""
    cdef const char* path = record_text(record, record.log_path)
    cdef const char* slash
    log.dir = AT_FDCWD
    log.name = path
    if record.log_dir_fd >= 0 and path != NULL:
        log.dir = record.log_dir_fd
        slash = strrchr(path, c"/")
        log.name = slash + 1 if slash != NULL else path
    log.limit = record.log_size_max if record.log_size_max > 0 else INT64_MAX


cdef inline void log_replace(Log* log, Record* record, int fd) noexcept nogil:
    """Go on in `fd`."""
    close(log.fd)
    log.fd = fd
    record.log_fd = fd
    record.log_size = file_size(fd)
    log.limit = record.log_size_max if record.log_size_max > 0 else INT64_MAX


cdef inline void log_begin_anew(Monitor* m) noexcept nogil:
    """Replace the full log by an empty one (C10).

    Where no new file can be put in its place, the file itself is emptied: the limit holds. A
    file that somebody has moved away is theirs, and keeps what it has.
    """
    cdef Log* log = &m.log
    cdef Record* record = m.record
    cdef char temporary[PATH_LIMIT]
    cdef int fd = -ENAMETOOLONG
    cdef int failure
    if file_size(log.fd) == 0:  # a device, or somebody has emptied it
        record.log_size = 0
        return
    if <size_t>snprintf(temporary, PATH_LIMIT, b"%s.tmp", log.name) < PATH_LIMIT:
        fd = create_anew(log, temporary)
        if fd == -EEXIST and unlinkat(log.dir, temporary, 0) == 0:
            fd = create_anew(log, temporary)
    if fd >= 0 and renameat(log.dir, temporary, log.dir, log.name) < 0:
        failure = -errno
        close(fd)
        unlinkat(log.dir, temporary, 0)
        fd = failure
    if fd >= 0:
        log_replace(log, record, fd)
        log.rotation_failure = 0
    else:
        if log.rotation_failure != -fd:
            say_errno(
                record, LEVEL_WARNING, b"Failed to replace the log file, emptying it instead",
                strerror(-fd))
        log.rotation_failure = -fd
        if log_named(log) == NAMED_OURS:
            ftruncate(log.fd, 0)
        record.log_size = 0
    record.counters.truncations += 1


cdef inline void log_rotation_failed(Log* log, Record* record, int failure) noexcept nogil:
    """Go on in the old file, and try again when it has grown some more; said once."""
    cdef int64_t more = min(max(record.log_size_max // 10, <int64_t>RETRY_MIN), <int64_t>RETRY_MAX)
    record.counters.rotation_failures += 1
    if record.log_size_max > 0:
        log.limit = max(record.log_size_max, record.log_size + more)
    if log.rotation_failure != failure:
        say_errno(
            record, LEVEL_WARNING, b"Failed to rotate the log file, going on in the old one",
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
    log_replace(log, record, fd)
    if named == NAMED_OURS:
        record.counters.rotations += 1
    if log.rotation_failure:
        say(record, LEVEL_WARNING, b"Rotating the log file works again")
        log.rotation_failure = 0


cdef inline size_t log_room(const Log* log, const Record* record) noexcept nogil:
    """Bytes that the buffer may hold: until it is full, or the log with it."""
    return max(<int64_t>0, min(log.limit - record.log_size, <int64_t>LOG_BUFFER))


cdef inline void log_make_room(Monitor* m, int64_t size) noexcept nogil:
    """Write what is buffered, and begin another log if that was one record too much for it."""
    cdef Record* record = m.record
    log_flush(m)
    # not decided before the write: one that fails leaves less in the file, perhaps nothing, and
    # moving that aside would push good old logs over the end
    if record.log_size == 0 or record.log_size + size <= m.log.limit:
        return
    if record.log_max_files > 0:
        log_rotate(m)
    else:
        log_begin_anew(m)


cdef inline void log_reopen(Monitor* m) noexcept nogil:
    """ctl "2 0 0": the log was moved away, so go on in a file of its name, made if need be.

    Nothing is lost where it is still in its place: it stays there (C11.5), or is rotated. CRI-O
    waits without end until it sees that a file of that name was made or changed (D2). Cutting
    the file to the size that it has is such a change, and not one byte differs by it.
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
        fd = log_open_named(log)
        if fd < 0:
            say_errno(record, LEVEL_WARNING, b"Failed to reopen the log file", strerror(-fd))
            return
        log_replace(log, record, fd)
    ftruncate(log.fd, file_size(log.fd))


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
