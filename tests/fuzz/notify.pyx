"""Notify datagrams: what is passed on are lines of the datagram, and only those of a service.

Then the way to a host's socket that takes a message now and again: what it takes comes in order,
whole, and a message that says how far the service is gives way to none that does not.
"""

from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset, strlen

from conmon.core.notify cimport (
    notify_close, notify_filter, notify_flush, notify_keep, notify_send,
)
from conmon.core.record cimport Record
from conmon.core.state cimport Monitor
from fuzz.feed cimport Feed, feed_begin, feed_number, hold

cdef enum:
    HOST = 99          # the fd of a socket to the host
    MOST_SENT = 4096

cdef struct Text:      # a record's blob
    Record record
    char notify_host[8]

cdef Monitor monitor
cdef Text text
cdef uint8_t refusals  # a bit for each of the next messages, used round and round
cdef int sent[MOST_SENT]  # the number that each message carries
cdef int sent_count


cdef extern int __real_close(int fd) noexcept nogil


cdef public int __wrap_close(int fd) noexcept nogil:
    return 0 if fd == HOST else __real_close(fd)


cdef public int __wrap_socket(int domain, int kind, int protocol) noexcept nogil:
    return HOST


cdef public ssize_t __wrap_sendto(
        int fd, const char* data, size_t size, int flags, const void* to,
        unsigned int to_size) noexcept nogil:
    """The host's socket."""
    global refusals, sent_count
    cdef bint refuse = refusals & 1
    refusals = (refusals >> 1) | (refusals << 7)
    if refuse:
        (&errno)[0] = EAGAIN
        return -1
    hold(sent_count < MOST_SENT, b"nothing is sent twice")
    hold(size > 11 and memcmp(data, b"READY=1\n", 8) == 0
         or size > 11 and memcmp(data, b"STATUS=\n", 8) == 0, b"a message stays whole")
    sent[sent_count] = (<uint8_t>data[8] << 8) | <uint8_t>data[9]
    sent_count += 1
    return size


cdef bint begins(const char* line, size_t size, const char* name) noexcept nogil:
    return size >= strlen(name) and memcmp(line, name, strlen(name)) == 0


cdef bint is_line(const char* line, size_t size, const char* whole) noexcept nogil:
    return size == strlen(whole) and memcmp(line, whole, size) == 0


cdef bint wanted(const char* line, size_t size) noexcept nogil:
    """What C14 passes on."""
    return (is_line(line, size, b"READY=1") or is_line(line, size, b"RELOADING=1")
            or is_line(line, size, b"STOPPING=1") or is_line(line, size, b"WATCHDOG=1")
            or is_line(line, size, b"WATCHDOG=trigger") or begins(line, size, b"STATUS=")
            or begins(line, size, b"ERRNO=") or begins(line, size, b"BUSERROR=")
            or begins(line, size, b"MONOTONIC_USEC="))


cdef size_t line_size(const char* line, const char* end) noexcept nogil:
    """Bytes before the newline, a carriage return too, or the end."""
    cdef size_t size = 0
    while line + size < end and line[size] != c"\n" and line[size] != c"\r":
        size += 1
    return size


cdef void check_filter(const char* data, size_t size) noexcept nogil:
    # of exactly this size, so that a byte too many is seen
    cdef char* message = <char*>malloc(size)
    cdef char* out = <char*>malloc(size)
    cdef const char* line = message
    cdef const char* end = message + size
    cdef size_t kept, at = 0, n
    memcpy(message, data, size)
    kept = notify_filter(message, size, out)
    while line < end:
        n = line_size(line, end)
        if wanted(line, n):
            hold(at + (at > 0) + n <= kept, b"each line that is wanted is passed on")
            if at:
                hold(out[at] == c"\n", b"lines are kept apart")
                at += 1
            hold(memcmp(out + at, line, n) == 0, b"a line is passed on as it is")
            at += n
        line += n + 1
    hold(at == kept, b"nothing else is passed on")
    free(message)
    free(out)


cdef void put_message(char* out, int number, bint matters, size_t size) noexcept nogil:
    memcpy(out, b"READY=1\n" if matters else b"STATUS=\n", 8)
    out[8] = <char>(number >> 8)
    out[9] = <char>(number & 0xff)
    memset(out + 10, c".", size - 10)


cdef void check_keeping(Feed* feed) noexcept nogil:
    """Relay messages of many sizes, as notify_take does; a byte of input says which."""
    cdef int number = 0, what, i, _try
    cdef bint matters[4096]
    cdef bint arrived[4096]
    cdef char* message
    cdef size_t size
    cdef size_t important = 0
    global sent_count
    sent_count = 0
    memset(arrived, 0, sizeof(arrived))
    while feed.size and number < 2000:
        what = feed_number(feed)
        size = 12 + (what >> 1) * 250
        matters[number] = what & 1
        if matters[number]:
            important += size + 2
        message = <char*>malloc(size)
        put_message(message, number, matters[number], size)
        if not (notify_flush(&monitor) and notify_send(&monitor, message, size)):
            notify_keep(&monitor, message, size)
        free(message)
        number += 1
    for _try in range(2000):
        if notify_flush(&monitor):
            break
    notify_close(&monitor)
    monitor.notify.delay = 0
    for i in range(sent_count):
        hold(i == 0 or sent[i] > sent[i - 1], b"messages come in order, and once")
        hold(sent[i] < number, b"only what was sent comes")
        arrived[sent[i]] = True
    for i in range(number):
        if matters[i] and important < 32768:
            hold(arrived[i], b"a message that matters arrives")


cdef public int LLVMFuzzerInitialize(int* argc, char*** argv) noexcept nogil:
    memset(&monitor, 0, sizeof(monitor))
    memset(&text, 0, sizeof(text))
    memcpy(text.notify_host, b"/host", 6)
    monitor.record = &text.record
    text.record.log_level = -1
    text.record.notify_host = <int>(text.notify_host - <char*>&text.record)
    return 0


cdef public int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) noexcept nogil:
    global refusals
    cdef Feed feed = feed_begin(data, size)
    cdef bint keeping = feed_number(&feed) & 1
    if not keeping:
        check_filter(feed.data, feed.size)
        return 0
    refusals = feed_number(&feed)
    if refusals == 0xff:
        return 0
    check_keeping(&feed)
    return 0
