"""ctl and winsz lines: what a line does depends on its bytes alone, however they are read."""

from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcpy, memset, strncmp

from conmon.core.control cimport SIZE_LIMIT, on_lines
from conmon.core.kernel cimport O_RDWR, O_CLOEXEC, open, winsize
from conmon.core.logfile cimport log_open
from conmon.core.loop cimport source_init
from conmon.core.record cimport Record
from conmon.core.state cimport LINE_LIMIT, Lines, Monitor
from fuzz.feed cimport Feed, feed_begin, feed_number, hold

cdef enum:
    MOST_EFFECTS = 2048
    SPLITS = 8

cdef struct Effects:
    int rows[MOST_EFFECTS]
    int columns[MOST_EFFECTS]
    size_t count
    unsigned long said             # bytes of conmon's messages, mixed
    int too_long                   # messages of a line that is too long

cdef struct Text:                  # a record's blob
    Record record
    char log_path[16]

cdef Monitor monitor
cdef Text text
cdef Effects* effects = NULL
cdef Effects as_read
cdef Effects alone
cdef const char* input
cdef size_t left
cdef int splits[SPLITS]
cdef int split
cdef int split_count


cdef public ssize_t __wrap_read(int fd, char* out, size_t size) noexcept nogil:
    """The fifo: as many bytes as the next split says."""
    global input, left, split
    cdef size_t n = min(size, left)
    if split < split_count:
        n = min(n, <size_t>splits[split])
        split += 1
    if n == 0:
        (&errno)[0] = EAGAIN
        return -1
    memcpy(out, input, n)
    input += n
    left -= n
    return n


cdef public int __wrap_ioctl(int fd, unsigned long request, const winsize* size) noexcept nogil:
    """The terminal, which is told its size."""
    hold(size.ws_row <= SIZE_LIMIT and size.ws_col <= SIZE_LIMIT, b"a size is within its bounds")
    hold(effects.count < MOST_EFFECTS, b"an effect takes four bytes or more")
    effects.rows[effects.count] = size.ws_row
    effects.columns[effects.count] = size.ws_col
    effects.count += 1
    return 0


cdef extern ssize_t __real_write(int fd, const void* data, size_t size) noexcept nogil


cdef public ssize_t __wrap_write(int fd, const char* data, size_t size) noexcept nogil:
    """stderr: what conmon says."""
    cdef size_t i
    if effects == NULL or size < 34 or data[0] != c"[":
        return __real_write(fd, data, size)
    if strncmp(data + 12, b"Could not find newline", 22) == 0:
        effects.too_long += 1
        return size
    for i in range(size):
        effects.said = effects.said * 31 + <uint8_t>data[i]
    return size


cdef void begin(Effects* into) noexcept nogil:
    global effects
    effects = into
    into.count = 0
    into.said = 0
    into.too_long = 0
    monitor.record.counters.reopens = 0


cdef void serve(Lines* lines, const char* data, size_t size) noexcept nogil:
    """Have conmon read all of this."""
    global input, left
    input = data
    left = size
    while left:
        on_lines(&monitor, &lines.source, 0)
        hold(lines.used < LINE_LIMIT, b"there is room for more")


cdef int serve_alone(Lines* lines, Feed* feed) noexcept nogil:
    """Each line in a read of its own; how many were too long, and so left out."""
    cdef const char* line = feed.data
    cdef const char* end = feed.data + feed.size
    cdef const char* newline = <const char*>memchr(line, c"\n", end - line)
    cdef int too_long = 0
    while newline != NULL:
        if newline - line < LINE_LIMIT:
            serve(lines, line, newline + 1 - line)
        else:
            too_long += 1
        line = newline + 1
        newline = <const char*>memchr(line, c"\n", end - line)
    return too_long + (end - line >= LINE_LIMIT)


cdef public int LLVMFuzzerInitialize(int* argc, char*** argv) noexcept nogil:
    memset(&monitor, 0, sizeof(monitor))
    memset(&text, 0, sizeof(text))
    memcpy(text.log_path, b"/dev/null", 10)
    monitor.record = &text.record
    text.record.log_dir_fd = -1
    text.record.log_level = 1
    text.record.log_path = <int>(text.log_path - <char*>&text.record)
    text.record.log_fd = open(b"/dev/null", O_RDWR | O_CLOEXEC)
    log_open(&monitor)
    monitor.out.terminal = True
    return 0


cdef public int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) noexcept nogil:
    global split, split_count, effects
    cdef Feed feed = feed_begin(data, size)
    cdef Lines* lines = &monitor.ctl if feed_number(&feed) % 2 else &monitor.winsz
    cdef int i, too_long
    cdef unsigned long reopens
    cdef int count = feed_number(&feed) % (SPLITS + 1)
    for i in range(count):
        splits[i] = feed_number(&feed) + 1
    split = 0
    split_count = count
    memset(lines, 0, sizeof(Lines))
    source_init(&lines.source, 99, on_lines)
    begin(&as_read)
    serve(lines, feed.data, feed.size)
    reopens = monitor.record.counters.reopens

    split_count = 0
    memset(lines, 0, sizeof(Lines))
    source_init(&lines.source, 99, on_lines)
    begin(&alone)
    too_long = serve_alone(lines, &feed)
    effects = NULL
    hold(as_read.too_long == too_long, b"each line that is too long is told once")
    as_read.too_long = alone.too_long = 0
    hold(as_read.said == alone.said, b"a line's message does not depend on the reads")
    hold(as_read.count == alone.count, b"a line's effect does not depend on the reads")
    for i in range(<int>alone.count):
        hold(as_read.rows[i] == alone.rows[i], b"the same rows")
        hold(as_read.columns[i] == alone.columns[i], b"the same columns")
    # requests that are read together are met by one reopening
    hold((reopens == 0) == (monitor.record.counters.reopens == 0)
         and reopens <= monitor.record.counters.reopens, b"a reopening where one was asked for")
    return 0
