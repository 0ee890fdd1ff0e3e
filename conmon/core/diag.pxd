"""conmon's own messages, from the lives that have no interpreter: stderr and syslog (C3).

syslog is spoken directly (RFC 3164 as glibc's syslog(3) writes it: `<pri>date ident: text` in
one datagram to /dev/log, or with a NUL behind it where that is a stream socket), never waiting: a
message that cannot be sent is counted.
"""

from libc.errno cimport EPROTOTYPE, errno
from libc.string cimport memcpy, memset, strlen

from conmon.core.kernel cimport (
    AF_UNIX, CLOCK_REALTIME, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM,
    clock_gettime, close, connect, localtime_r, send, snprintf, sockaddr, sockaddr_un, socket,
    timespec, tm, write,
)
from conmon.core.record cimport Record, record_text

cdef enum Level:
    LEVEL_ERROR = 0
    LEVEL_WARNING = 1
    LEVEL_INFO = 2
    LEVEL_DEBUG = 3       # 4, trace, only the Python lives have

cdef enum:
    # <syslog.h>: LOG_USER | severity
    SYSLOG_ERR = 8 | 3
    SYSLOG_INFO = 8 | 6
    MESSAGE_LIMIT = 1024  # bytes of one message; the rest is cut


cdef inline const char* month_name(int month) noexcept nogil:
    cdef const char* names = b"Jan\0Feb\0Mar\0Apr\0May\0Jun\0Jul\0Aug\0Sep\0Oct\0Nov\0Dec"
    return names + 4 * month


cdef inline int syslog_send(int priority, const char* text) noexcept nogil:
    """Send one message to /dev/log; 0, or -errno where nobody took it."""
    cdef char message[MESSAGE_LIMIT + 64]
    cdef timespec now
    cdef tm local
    cdef int failure, length
    clock_gettime(CLOCK_REALTIME, &now)
    localtime_r(&now.tv_sec, &local)
    length = snprintf(
        message, sizeof(message), b"<%d>%s %2d %02d:%02d:%02d conmon: %.*s", priority,
        month_name(local.tm_mon), local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec,
        <int>MESSAGE_LIMIT, text)
    failure = syslog_send_as(SOCK_DGRAM, message, length)
    return syslog_send_as(SOCK_STREAM, message, length + 1) if failure == -EPROTOTYPE else failure


cdef inline int syslog_send_as(int kind, const char* message, size_t size) noexcept nogil:
    """Send bytes to /dev/log, which is a socket of this kind; 0 or -errno."""
    cdef sockaddr_un address
    cdef int failure = 0
    cdef int fd = socket(AF_UNIX, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
    if fd < 0:
        return -errno
    memset(&address, 0, sizeof(address))
    address.sun_family = AF_UNIX
    memcpy(address.sun_path, b"/dev/log", 9)
    if (connect(fd, <sockaddr*>&address, sizeof(address)) < 0
            or send(fd, message, size, MSG_NOSIGNAL) < 0):
        failure = -errno
    close(fd)
    return failure


cdef inline const char* level_letter(int level) noexcept nogil:
    cdef const char* letters = b"e\0w\0i\0d"
    return letters + 2 * level


cdef inline const char* level_syslog_name(int level) noexcept nogil:
    if level == LEVEL_ERROR:
        return b"error"
    if level == LEVEL_WARNING:
        return b"nwarn"
    if level == LEVEL_INFO:
        return b"ninfo"
    return b"ndebug"


cdef inline void say(Record* record, int level, const char* text) noexcept nogil:
    """Report `text`, without a newline, at `level` where the caller asked to hear that level."""
    cdef char line[MESSAGE_LIMIT]
    cdef const char* tag = record_text(record, record.syslog_tag)
    if level > record.log_level:
        return
    if tag == NULL:
        tag = b""
    snprintf(line, sizeof(line), b"[conmon:%s]: %s\n", level_letter(level), text)
    write(2, line, strlen(line))
    if record.use_syslog:
        snprintf(
            line, sizeof(line), b"conmon %.20s <%s>: %s", tag,
            level_syslog_name(level), text)
        if syslog_send(SYSLOG_ERR if level == LEVEL_ERROR else SYSLOG_INFO, line) == 0:
            return
    # stderr is /dev/null by now, so without syslog only this tells that there was something
    record.counters.unreported += 1


cdef inline void say_errno(
        Record* record, int level, const char* text, const char* reason) noexcept nogil:
    """Report `text: reason`; `reason` is strerror() of what failed."""
    cdef char line[MESSAGE_LIMIT]
    snprintf(line, sizeof(line), b"%s: %s", text, reason)
    say(record, level, line)
