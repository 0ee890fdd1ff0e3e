"""Writing records to the k8s-file log: none torn, none lost without a word (C20.9).

Failures do not stop the container. A write that fails half-way is rolled back to the last whole
record; where that cannot be, the rest of the record waits in a queue, and is the first that is
written when the log takes writes again. What could not be logged is counted, and then a marker
record says how much is missing.

In the queue waits also all that a log which is not a regular file does not take at once:
logwait.pxd.
"""

from libc.errno cimport EAGAIN, EINTR, EIO, ENOBUFS, ENOMEM, errno
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memchr, memcpy, memrchr, strerror, strlen

from conmon.core.buffers cimport buffers_touch
from conmon.core.crilog cimport header_set, put_record
from conmon.core.diag cimport LEVEL_ERROR, LEVEL_WARNING, say, say_errno
from conmon.core.kernel cimport S_ISREG, fstat, ftruncate, snprintf, stat_t, write
from conmon.core.logwait cimport is_regular, log_stall, log_unstall
from conmon.core.queue cimport queue_free, queue_reserve, queue_size
from conmon.core.record cimport Record
from conmon.core.state cimport HEADER, TAG_AT, Log, Monitor, Source

cdef enum:
    # Bytes that may wait for the log. The streams are not read meanwhile, so only full pipes of
    # empty lines, read at the container's end, come near.
    LOG_QUEUE_MAX = 32 << 20
    LOG_QUEUE_RESUME = 16 << 20  # after an overflow records are dropped until less than this waits


cdef inline int64_t file_size(int fd) noexcept nogil:
    """Bytes in a regular file, 0 for anything else."""
    cdef stat_t about
    if fstat(fd, &about) < 0 or not S_ISREG(about.st_mode):
        return 0
    return about.st_size


cdef inline size_t record_rest(const char* data, size_t size) noexcept nogil:
    """Bytes up to the end of the record that `data` begins in: its only newline."""
    cdef const char* newline = <const char*>memchr(data, c"\n", size)
    return newline + 1 - data if newline != NULL else size


cdef inline void log_note_begun(Log* log, const char* data, size_t done) noexcept nogil:
    """Note how much of a record the log ends with, after `done` bytes from `data` on."""
    cdef const char* newline
    if done == 0:
        return
    if data[done - 1] == c"\n":
        log.begun = 0
        return
    newline = <const char*>memrchr(data, c"\n", done)
    if newline != NULL:
        done -= newline + 1 - data
        log.begun = 0
    if log.begun == 0:
        # the whole record is there, of which only the beginning was written
        log.begun_tag = (newline + 1 if newline != NULL else data)[TAG_AT]
    log.begun += done


cdef inline size_t roll_back(const Log* log, const char* data, size_t done) noexcept nogil:
    """Take what was written of the last record out of the file; how much of `done` stays."""
    cdef const char* newline = <const char*>memrchr(data, c"\n", done)
    cdef size_t whole = newline - data + 1 if newline != NULL else 0
    cdef int64_t size
    if whole == done or not is_regular(log.fd):
        return done
    size = file_size(log.fd) - <int64_t>(done - whole)
    # below 0: somebody has emptied the file meanwhile, and there is nothing to take out
    return whole if size < 0 or ftruncate(log.fd, size) == 0 else done


cdef inline int log_out(
        Log* log, Record* record, const char* data, size_t size, size_t* written) noexcept nogil:
    """Write records; 0 or errno, EAGAIN if the log takes no more now. `*written` bytes are in."""
    cdef size_t done = 0
    cdef ssize_t n
    cdef int failure = 0
    while done < size and failure == 0:
        n = write(log.fd, data + done, size - done)
        if n > 0:
            done += n
        elif n == 0:
            failure = EIO
        elif errno != EINTR:
            failure = errno
    if failure and failure != EAGAIN and done:
        done = roll_back(log, data, done)
    log_note_begun(log, data, done)
    record.log_size += done
    record.log_total += done
    record.counters.bytes_logged += done
    written[0] = done
    return failure


cdef inline void log_count(Log* log, Record* record, size_t payload) noexcept nogil:
    """Count a record that is lost, with so many of the container's bytes in it."""
    record.counters.records_dropped += 1
    record.counters.bytes_dropped += payload
    log.lost += payload


cdef inline void log_count_lost(
        Log* log, Record* record, const char* data, size_t size) noexcept nogil:
    """Count whole records that were formatted but not written."""
    cdef const char* end = data + size
    cdef size_t whole
    while data < end:
        whole = record_rest(data, end - data)
        # a partial record's newline is not the container's
        log_count(log, record, whole - HEADER - (data[TAG_AT] == c"P"))
        data += whole


cdef inline void log_count_begun(Log* log, Record* record, size_t rest) noexcept nogil:
    """Count what is lost of the record that was begun: all but what is in the log of it."""
    cdef size_t header = HEADER - min(log.begun, <size_t>HEADER)
    rest -= log.begun_tag == c"P"
    log_count(log, record, rest - min(rest, header))


cdef inline void log_lose_begun(Log* log, Record* record) noexcept nogil:
    """Lose the rest of the record that was begun, which the queue begins with."""
    cdef size_t rest
    if log.begun == 0:
        return
    rest = record_rest(log.queue.data + log.queue.head, queue_size(&log.queue))
    log.queue.head += rest
    if log.marker_left == rest:
        log.lost += log.marked
    elif log.begun_tag:
        log_count_begun(log, record, rest)
    log.marker_left -= min(rest, log.marker_left)
    log.begun = 0


cdef inline bint log_enqueue(Log* log, const char* data, size_t size) noexcept nogil:
    """Let bytes wait; False without memory for them."""
    if not queue_reserve(&log.queue, size):
        return False
    memcpy(log.queue.data + log.queue.tail, data, size)
    log.queue.tail += size
    return True


cdef inline void log_lose(Monitor* m, const char* data, size_t size) noexcept nogil:
    """Lose these records, behind the queue's. Of one that was begun the rest is kept."""
    cdef Log* log = &m.log
    cdef size_t rest
    if log.begun and queue_size(&log.queue) == 0 and size:
        rest = record_rest(data, size)
        if not log_enqueue(log, data, rest):
            log_count_begun(log, m.record, rest)
            log.begun_tag = 0  # counted; a newline will end it: log_resume
        data += rest
        size -= rest
    log_count_lost(log, m.record, data, size)


cdef inline void log_drop_queue(Monitor* m) noexcept nogil:
    """Lose what waits, but for the rest of a record that was begun."""
    cdef Log* log = &m.log
    cdef const char* data = log.queue.data + log.queue.head
    cdef size_t size = queue_size(&log.queue)
    cdef size_t kept = record_rest(data, size) if log.begun else 0
    cdef size_t behind = max(kept, log.marker_left)
    if log.marker_left > kept:  # not begun: what it says is to be said later
        log.lost += log.marked
        log.marker_left = 0
    log_count_lost(log, m.record, data + behind, size - behind)
    log.queue.tail = log.queue.head + kept


cdef inline void log_failed(Monitor* m, int failure) noexcept nogil:
    """From now on what cannot be written is lost; said once."""
    if m.log.failure == 0:
        say_errno(
            m.record, LEVEL_ERROR, b"Failed to write to the log file", strerror(failure))
    m.log.failure = failure


cdef inline int log_out_queue(Log* log, Record* record) noexcept nogil:
    """Write what waits; 0 or errno, as log_out."""
    cdef size_t done
    cdef int failure = log_out(
        log, record, log.queue.data + log.queue.head, queue_size(&log.queue), &done)
    log.queue.head += done
    log.marker_left -= min(done, log.marker_left)
    return failure


cdef inline int log_drain(Monitor* m) noexcept nogil:
    """Write what waits, as far as the log takes it; 0, or errno, and then it is lost."""
    cdef Log* log = &m.log
    cdef int failure = log_out_queue(log, m.record)
    if failure == EAGAIN:
        if log_stall(m):
            return 0
        failure = log_out_queue(log, m.record)  # which blocks
    log_unstall(m)
    if failure:
        log_drop_queue(m)
        log_failed(m, failure)
    else:
        queue_free(&log.queue)
    return failure


cdef inline size_t put_marker(Log* log, char* line) noexcept nogil:
    """Format a record that says how much is missing into `line`, of 256 bytes; its size."""
    cdef char text[192]
    cdef char header[HEADER + 3]
    cdef size_t size
    snprintf(
        text, sizeof(text), b"conmon: %llu bytes of output were not logged: %s\n",
        <unsigned long long>log.lost, strerror(log.failure))
    # in the middle of a chunk, whose records have one time and stream
    memcpy(header, log.header, sizeof(header))
    header_set(log, 3)
    size = put_record(line, log.header, text, strlen(text), False)
    memcpy(log.header, header, sizeof(header))
    return size


cdef inline int log_resume(Monitor* m) noexcept nogil:
    """Try again after a failure: the rest of a record, then what is missing; 0 or errno."""
    cdef Log* log = &m.log
    cdef char line[256]
    cdef size_t size
    cdef int failure
    if log.begun and queue_size(&log.queue) == 0 and not log_enqueue(log, b"\n", 1):
        return ENOMEM
    size = put_marker(log, line)
    if not log_enqueue(log, line, size):
        return ENOMEM
    log.marker_left = queue_size(&log.queue)
    log.marked = log.lost
    log.lost = 0
    failure = log_drain(m)
    if failure == 0:
        say(m.record, LEVEL_WARNING, b"Writing to the log file works again")
        log.failure = 0
    return failure


cdef inline void log_write(Monitor* m, const char* data, size_t size) noexcept nogil:
    """Write whole records, behind those that wait."""
    cdef Log* log = &m.log
    cdef size_t done = 0
    cdef int failure = EAGAIN
    if queue_size(&log.queue) == 0:
        failure = log_out(log, m.record, data, size, &done)
    if failure == 0:
        return
    data += done
    size -= done
    if failure == EAGAIN and (
            queue_size(&log.queue) + size > LOG_QUEUE_MAX or not log_enqueue(log, data, size)):
        failure = ENOBUFS
    if failure != EAGAIN:
        log_lose(m, data, size)
        log_failed(m, failure)
    elif not log_stall(m):
        log_drain(m)


cdef inline void log_flush(Monitor* m) noexcept nogil:
    """Write what is buffered."""
    cdef Log* log = &m.log
    cdef size_t size = log.used
    if size == 0:
        return
    buffers_touch(m, size)
    log.used = 0
    if log.failure and (queue_size(&log.queue) > LOG_QUEUE_RESUME or log_resume(m)):
        log_count_lost(log, m.record, log.buffer, size)
    else:
        log_write(m, log.buffer, size)


cdef inline void on_log(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    """The log takes more, or its reader has gone."""
    log_drain(m)


cdef inline void log_finish(Monitor* m) noexcept nogil:
    """Before the end: where records are missing, the log should say so if it can."""
    cdef Log* log = &m.log
    if log.fd >= 0 and log.failure and log_resume(m) and not log.stalled:
        log_lose_begun(log, m.record)
        queue_free(&log.queue)
