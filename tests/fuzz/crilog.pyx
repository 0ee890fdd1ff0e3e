"""The k8s-file log: its records parse back to exactly what the container wrote.

The writes to the file may be cut short and interrupted. Sizes of chunks come from the input's
end, their bytes from its beginning, over and over.
"""

from libc.errno cimport EINTR, errno
from libc.stdint cimport uint8_t
from libc.stdlib cimport malloc
from libc.string cimport memchr, memcmp, memcpy, memset

from conmon.core.kernel cimport (
    EPOLL_CLOEXEC, MFD_CLOEXEC, epoll_create1, ftruncate, memfd_create, pread,
)
from conmon.core.logfile cimport log_flush
from conmon.core.monitor cimport monitor_open
from conmon.core.record cimport Record
from conmon.core.state cimport CHUNK, HEADER, RECORD_DATA, Monitor
from conmon.core.streams cimport forward
from fuzz.feed cimport Feed, feed_begin, feed_number, hold

cdef extern from "<unistd.h>" nogil:
    long lseek(int fd, long offset, int whence)

cdef enum:
    CHUNKS = 8          # of one run
    ROOM = 96 << 10     # bytes of one run; a full chunk fits

cdef struct Chunk:
    char tag
    size_t size
    size_t at           # of its first byte in `written`

cdef Monitor monitor
cdef Record record
cdef char* written      # what the container writes in one run
cdef char* read_back    # the log
cdef Chunk chunks[CHUNKS]
cdef int log_fd = -1
cdef unsigned int troubles  # two bits for each of the next writes, used round and round

cdef extern ssize_t __real_write(int fd, const void* data, size_t size) noexcept nogil


cdef public ssize_t __wrap_write(int fd, const char* data, size_t size) noexcept nogil:
    """The log takes all, half, all but a byte, or is interrupted."""
    global troubles
    cdef unsigned int trouble = troubles & 3
    if fd != log_fd:
        return __real_write(fd, data, size)
    troubles = (troubles >> 2) | (troubles << 30)
    if trouble == 3:
        (&errno)[0] = EINTR
        return -1
    if trouble == 2:
        size = size - 1 if size > 1 else 1
    elif trouble == 1:
        size = (size + 1) // 2
    return __real_write(fd, data, size)


cdef void chunks_write(Feed* feed, int count) noexcept nogil:
    """Have the container write, and conmon log it: after each chunk or after a few."""
    cdef size_t at = 0, i
    cdef int n, c
    for c in range(count):
        n = feed_number(feed) if at < CHUNK // 4 else 0
        chunks[c].tag = 2 + (n & 1)
        chunks[c].size = (n >> 2) + 1 if not n & 2 else CHUNK if n == 0xff else (n >> 2 << 8) + 192
        chunks[c].at = at
        at += chunks[c].size
    memset(written, 0, at)
    i = 0
    while i < at and feed.size:
        n = <int>min(feed.size, at - i)
        memcpy(written + i, feed.data, n)
        i += n
    for c in range(count):
        forward(&monitor, chunks[c].tag, written + chunks[c].at, chunks[c].size)
        if c % 4 == 3:
            log_flush(&monitor)
    log_flush(&monitor)


cdef char last_header[HEADER]


cdef bint is_header(const char* header) noexcept nogil:
    """Whether it has the form of a record's first 45 bytes."""
    if memcmp(header, last_header, HEADER) == 0:
        return True
    if not has_form(header):
        return False
    memcpy(last_header, header, HEADER)
    return True


cdef bint has_form(const char* header) noexcept nogil:
    cdef const char* form = b"0000-00-00T00:00:00.000000000+00:00 stdXXX X "
    cdef int i
    for i in range(HEADER):
        if form[i] == c"0":
            if not c"0" <= header[i] <= c"9":
                return False
        elif form[i] != c"X" and form[i] != header[i] and not (
                i == 29 and header[i] == c"-"):
            return False
    return header[43] == c"F" or header[43] == c"P"


cdef size_t check_record(
        const char* text, size_t left, const Chunk* chunk, size_t done) noexcept nogil:
    """Hold one record of the log against the chunk, `done` of it; the record's data."""
    cdef const char* newline
    cdef size_t size
    hold(left > HEADER and is_header(text), b"a record begins with its header")
    hold(memcmp(text + 36, b"stdout" if chunk.tag == 2 else b"stderr", 6) == 0, b"its stream")
    newline = <const char*>memchr(text + HEADER, c"\n", left - HEADER)
    hold(newline != NULL, b"a record ends with a newline")
    size = newline - text - HEADER
    if text[43] == c"F":
        size += 1
    hold(size > 0 and size <= RECORD_DATA and size <= chunk.size - done, b"a record's size")
    hold(memcmp(text + HEADER, written + chunk.at + done, size) == 0, b"a record's bytes")
    if text[43] == c"P":
        hold(size == RECORD_DATA or size == chunk.size - done, b"a piece is as large as can be")
    return size


cdef void check_log(size_t size, int count) noexcept nogil:
    cdef size_t at = 0, done, n
    cdef unsigned long records = 0
    cdef int c
    for c in range(count):
        done = 0
        while done < chunks[c].size:
            n = check_record(read_back + at, size - at, &chunks[c], done)
            at += HEADER + n + (read_back[at + 43] == c"P")
            done += n
            records += 1
    hold(at == size, b"nothing else is in the log")
    hold(monitor.record.counters.records == records, b"records are counted")
    hold(monitor.record.counters.bytes_logged == size, b"bytes are counted")


cdef public int LLVMFuzzerInitialize(int* argc, char*** argv) noexcept nogil:
    global log_fd, written, read_back
    memset(&record, 0, sizeof(record))
    # no fds but these
    memset(&record.stdout_fd, 0xff, <char*>&record.held_stdout_size - <char*>&record.stdout_fd)
    record.log_level = -1
    record.log_fd = log_fd = memfd_create(b"log", MFD_CLOEXEC)
    written = <char*>malloc(ROOM)
    read_back = <char*>malloc(ROOM * (HEADER + 2))
    record.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
    monitor_open(&monitor, &record)
    return 0


cdef public int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) noexcept nogil:
    global troubles
    cdef Feed feed = feed_begin(data, size)
    cdef int count = feed_number(&feed) % (CHUNKS + 1)
    cdef ssize_t n
    cdef unsigned int how = feed_number(&feed)
    troubles = how * 0x01010101 if how != 0xff else 0  # not interrupted for ever
    memset(&record.counters, 0, sizeof(record.counters))
    record.log_size = 0
    hold(ftruncate(log_fd, 0) == 0 and lseek(log_fd, 0, 0) == 0, b"an empty log")
    chunks_write(&feed, count)
    n = pread(log_fd, read_back, ROOM * (HEADER + 2), 0)
    check_log(n, count)
    return 0
