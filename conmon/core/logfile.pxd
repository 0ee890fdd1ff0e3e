"""The k8s-file log: records into one buffer, one write per chunk, size limits, reopening.

Failures do not stop the container. A write that fails half-way is rolled back to the last whole
record, what could not be logged is counted, and when the file takes writes again a marker
record says how much is missing.
"""

from libc.errno cimport EINTR, EIO, errno
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcpy, memrchr, strerror, strlen

from conmon.core.atomicfile cimport PATH_LIMIT
from conmon.core.crilog cimport header_set, put_record
from conmon.core.diag cimport LEVEL_ERROR, LEVEL_INFO, LEVEL_WARNING, say, say_errno
from conmon.core.kernel cimport (
    O_APPEND, O_CLOEXEC, O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY, S_ISREG, close, fstat,
    ftruncate, open, rename, snprintf, stat, stat_t, write,
)
from conmon.core.record cimport Record
from conmon.core.state cimport HEADER, LOG_BUFFER, RECORD_DATA, Log, Monitor


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
    cdef size_t written
    snprintf(
        text, sizeof(text), b"conmon: %llu bytes of output were not logged: %s\n",
        <unsigned long long>log.lost, strerror(log.failure))
    header_set(log, 3)
    return log_write(
        log, record, line, put_record(line, log.header, text, strlen(text), False), &written)


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


cdef inline void log_replace(Log* log, Record* record, int fd) noexcept nogil:
    """Go on in `fd`."""
    close(log.fd)
    log.fd = fd
    record.log_fd = fd
    record.log_size = file_size(fd)


cdef inline void log_begin_anew(Monitor* m) noexcept nogil:
    """Replace the full log by an empty one (C10).

    Where no new file can be put in its place, the file itself is emptied: the limit holds.
    """
    cdef Log* log = &m.log
    cdef Record* record = m.record
    cdef char temporary[PATH_LIMIT]
    cdef int fd = -1
    if <size_t>snprintf(temporary, PATH_LIMIT, b"%s.tmp", log.path) < PATH_LIMIT:
        fd = open(
            temporary, O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o640)
    if fd >= 0 and rename(temporary, log.path) == 0:
        log_replace(log, record, fd)
    else:
        say_errno(
            record, LEVEL_WARNING, b"Failed to replace the log file, emptying it instead",
            strerror(errno))
        if fd >= 0:
            close(fd)
        ftruncate(log.fd, 0)
        record.log_size = 0
    record.counters.truncations += 1


cdef inline void log_reopen(Monitor* m) noexcept nogil:
    """Open the log by its name again: somebody moved the file away (ctl "2 0 0").

    Nothing is lost when the file is still in its place: then it is moved away and back, since
    CRI-O waits until it sees a file of that name appear (C11.5, D2).
    """
    cdef Log* log = &m.log
    cdef Record* record = m.record
    cdef char temporary[PATH_LIMIT]
    cdef stat_t ours, named
    cdef int fd
    if log.fd < 0:
        return
    record.counters.reopens += 1
    if (stat(log.path, &named) == 0 and fstat(log.fd, &ours) == 0
            and named.st_dev == ours.st_dev and named.st_ino == ours.st_ino):
        if (<size_t>snprintf(temporary, PATH_LIMIT, b"%s.tmp", log.path) < PATH_LIMIT
                and rename(log.path, temporary) == 0):
            rename(temporary, log.path)
        return
    fd = open(log.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
    if fd < 0:
        say_errno(record, LEVEL_WARNING, b"Failed to reopen the log file", strerror(errno))
        return
    log_replace(log, record, fd)


cdef inline void log_chunk(Monitor* m, char tag, const char* data, size_t size) noexcept nogil:
    """Log what one read of stream 2 or 3 returned (C8.2).

    A record per line; P for a piece without its newline: at the end of the read, or of
    RECORD_DATA bytes.
    """
    cdef Log* log = &m.log
    cdef Record* record = m.record
    cdef const char* end = data + size
    cdef const char* newline
    cdef size_t line, total
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
        if (record.log_size_max > 0
                and record.log_size + <int64_t>(log.used + total) > record.log_size_max
                and record.log_size + <int64_t>log.used > 0):
            log_flush(m)
            log_begin_anew(m)
        elif log.used + total > LOG_BUFFER:
            log_flush(m)
        log.used += put_record(log.buffer + log.used, log.header, data, line, partial)
        record.counters.records += 1
        data += line
    log_flush(m)
