"""The sd-notify relay (C14): what the container tells its service manager goes to the host's.

One datagram holds lines of `NAME=value` (sd_notify(3)). Those that speak of the container's
state are passed on; names that only make sense for the sender's own process (MAINPID=, FDSTORE=,
BARRIER=) are not. While the host's socket cannot take a message it is kept and tried again: a
READY=1 that is lost would have the service killed.
"""

from libc.errno cimport errno
from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcpy, memmove, memset, strerror, strlen, strncmp

from conmon.core.buffers cimport buffers_touch
from conmon.core.diag cimport LEVEL_WARNING, say, say_errno
from conmon.core.kernel cimport (
    AF_UNIX, EPOLLIN, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, MSG_DONTWAIT, MSG_NOSIGNAL, PROT_READ,
    PROT_WRITE, SHUT_RD, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET, SO_PASSCRED, close, mmap, munmap,
    pid_t, sendto, setsockopt, shutdown, sockaddr, sockaddr_un, socket, socklen_t,
)
from conmon.core.loop cimport watch
from conmon.core.passed cimport Peeked, message_drop, message_peek, message_take
from conmon.core.record cimport record_text
from conmon.core.state cimport Monitor, Source
from conmon.core.timer cimport timer_clear, timer_set

cdef enum:
    NOTIFY_LAST = 1024    # messages taken at the end; the socket holds at most some hundred
    NOTIFY_LIMIT = 32768  # bytes of one datagram
    NOTIFY_KEPT = 65536   # bytes of what is kept
    NOTIFY_DELAY_FIRST = 10   # ms until kept messages are sent again; doubled when none went
    NOTIFY_DELAY_LAST = 1000  # ms; the longest such delay
    TAKEN_SOON = 100      # ms for a child to take a message with fds: what it has to do takes one
    TAKEN_AT_LAST = 2000  # the same when the container has ended, and nobody waits for output


cdef inline bint begins(const char* line, size_t size, const char* start) noexcept nogil:
    cdef size_t length = strlen(start)
    return size >= length and strncmp(line, start, length) == 0


cdef inline bint is_word(const char* line, size_t size, const char* word) noexcept nogil:
    return size == strlen(word) and begins(line, size, word)


cdef inline bint notify_line_wanted(const char* line, size_t size) noexcept nogil:
    """Whether one line of a message is passed on."""
    return (is_word(line, size, b"READY=1") or is_word(line, size, b"RELOADING=1")
            or is_word(line, size, b"STOPPING=1") or is_word(line, size, b"WATCHDOG=1")
            or is_word(line, size, b"WATCHDOG=trigger") or begins(line, size, b"STATUS=")
            or begins(line, size, b"ERRNO=") or begins(line, size, b"BUSERROR=")
            or begins(line, size, b"MONOTONIC_USEC="))


cdef inline size_t notify_filter(const char* message, size_t size, char* out) noexcept nogil:
    """Keep the wanted lines, joined by newlines; the bytes in `out`, which holds `size`."""
    cdef size_t start = 0
    cdef size_t kept = 0
    cdef size_t end
    while start < size:
        end = start
        while end < size and message[end] != c"\n" and message[end] != c"\r":
            end += 1
        if end > start and notify_line_wanted(message + start, end - start):
            if kept:
                out[kept] = c"\n"
                kept += 1
            memcpy(out + kept, message + start, end - start)
            kept += end - start
        start = end + 1
    return kept


cdef inline bint notify_send(Monitor* m, const char* message, size_t size) noexcept nogil:
    """Send to the host's socket; False if it does not take it. `@name` is an abstract socket."""
    cdef sockaddr_un address
    cdef const char* path = record_text(m.record, m.record.notify_host)
    cdef size_t length = strlen(path)
    cdef ssize_t sent
    cdef int fd
    if length >= sizeof(address.sun_path):
        return False
    memset(&address, 0, sizeof(address))
    address.sun_family = AF_UNIX
    memcpy(address.sun_path, path, length)
    if path[0] == c"@":
        address.sun_path[0] = c"\0"
    else:
        length += 1
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
    if fd < 0:
        return False
    sent = sendto(
        fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL, <sockaddr*>&address,
        <socklen_t>(sizeof(address.sun_family) + length))
    close(fd)
    return sent >= 0


cdef inline bint notify_matters(const char* message, size_t size) noexcept nogil:
    """Whether a message says how far the service is, which nothing later makes up for."""
    cdef const char* end = message + size
    while message != NULL and message < end:
        size = end - message
        if (begins(message, size, b"READY=") or begins(message, size, b"RELOADING=")
                or begins(message, size, b"STOPPING=")):
            return True
        message = <const char*>memchr(message, c"\n", end - message)
        if message != NULL:
            message += 1
    return False


cdef inline size_t notify_frame(Monitor* m, size_t at) noexcept nogil:
    """Bytes of the kept message at `at`, without its size."""
    cdef unsigned char* frame = <unsigned char*>m.notify.kept + at
    return frame[0] | (<size_t>frame[1] << 8)


cdef inline void notify_forget(Monitor* m, size_t at) noexcept nogil:
    """Drop the kept message at `at`."""
    cdef size_t next = at + 2 + notify_frame(m, at)
    memmove(m.notify.kept + at, m.notify.kept + next, m.notify.size - next)
    m.notify.size -= next - at


cdef inline void notify_make_room(Monitor* m, size_t size) noexcept nogil:
    """Drop the oldest messages until one of `size` bytes fits, those that matter last."""
    cdef size_t at = 0
    while m.notify.size + 2 + size > NOTIFY_KEPT:
        if at >= m.notify.size:
            notify_forget(m, 0)  # only such as matter are left
        elif notify_matters(m.notify.kept + at + 2, notify_frame(m, at)):
            at += 2 + notify_frame(m, at)
        else:
            notify_forget(m, at)


cdef inline void notify_try_again(Monitor* m, long delay) noexcept nogil:
    """Try again after `delay` ms, or the longest that there is."""
    m.notify.delay = min(delay, <long>NOTIFY_DELAY_LAST)
    timer_set(m, &m.notify.timer, on_notify_timer, m.notify.delay)


cdef inline void notify_keep(Monitor* m, const char* message, size_t size) noexcept nogil:
    """Keep a message for later, behind those that wait already, as a message of its own.

    systemd handles the lines of one datagram in an order of its own, and none of one that has
    more than 4096 bytes: joined, messages would change their meaning.
    """
    if m.notify.kept == NULL:
        say_errno(
            m.record, LEVEL_WARNING, b"Failed to relay a notification, trying again",
            strerror(errno))
        m.notify.kept = <char*>mmap(
            NULL, NOTIFY_KEPT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if <void*>m.notify.kept == MAP_FAILED:
            m.notify.kept = NULL
            say_errno(
                m.record, LEVEL_WARNING, b"Failed to relay a notification, it is lost",
                strerror(errno),
            )
            return
        m.notify.size = 0
    notify_make_room(m, size)
    m.notify.kept[m.notify.size] = <char>(size & 0xff)
    m.notify.kept[m.notify.size + 1] = <char>(size >> 8)
    memcpy(m.notify.kept + m.notify.size + 2, message, size)
    m.notify.size += 2 + size
    if m.notify.delay == 0:
        notify_try_again(m, NOTIFY_DELAY_FIRST)


cdef inline bint notify_flush(Monitor* m) noexcept nogil:
    """Send what was kept; True once nothing is."""
    if m.notify.kept == NULL:
        return True
    while m.notify.size:
        if not notify_send(m, m.notify.kept + 2, notify_frame(m, 0)):
            return False
        notify_forget(m, 0)
    notify_close(m)
    m.notify.delay = 0
    timer_clear(m, &m.notify.timer)
    return True


cdef inline void notify_close(Monitor* m) noexcept nogil:
    """Give back the memory of what was kept, and forget that."""
    if m.notify.kept != NULL:
        munmap(m.notify.kept, NOTIFY_KEPT)
    m.notify.kept = NULL


cdef inline void notify_listen(Monitor* m) noexcept nogil:
    """Wait for messages, unless a child has the fds of one, or is to take it."""
    if m.holder == 0:
        watch(m, &m.notify.source, EPOLLIN)


cdef inline bint notify_take_fds(Monitor* m, int wait_ms) noexcept nogil:
    """Have a message taken that fds came with, FDSTORE=1 or BARRIER=1 perhaps; False if there can
    be no child for it.

    The child has the fds. Until it has closed them no more is read: whoever sends so must wait, and
    one child is enough.
    """
    cdef bint taken
    cdef pid_t child = message_take(m.notify.source.fd, wait_ms, &taken)
    watch(m, &m.notify.source, 0)
    if child < 0:
        say_errno(
            m.record, LEVEL_WARNING,
            b"Cannot fork to close the descriptors of a notification, trying again",
            strerror(-child))
        notify_try_again(m, NOTIFY_DELAY_LAST)
        return False
    m.holder = child
    m.notify.stuck = not taken
    return True


cdef inline bint notify_take(Monitor* m, bint last) noexcept nogil:
    """Relay one datagram; False if there was none, or it must wait. `last`: SO_PASSCRED is on, so
    that an empty one can be told from none."""
    cdef Peeked peeked
    cdef ssize_t n = message_peek(m.notify.source.fd, m.chunk, NOTIFY_LIMIT, last, &peeked)
    cdef char* out = m.chunk + NOTIFY_LIMIT
    cdef size_t size
    if n < 0 or (n == 0 and last and not peeked.came):
        m.notify.unread = False
        return False
    buffers_touch(m, NOTIFY_LIMIT)
    if not peeked.has_fds:
        message_drop(m.notify.source.fd)
    elif not notify_take_fds(m, TAKEN_AT_LAST if last else TAKEN_SOON):
        return False
    size = notify_filter(m.chunk, n, out)
    if size and not (notify_flush(m) and notify_send(m, out, size)):
        notify_keep(m, out, size)
    return True


cdef inline void on_notify(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    notify_take(m, False)


cdef inline void on_notify_timer(Monitor* m) noexcept nogil:
    cdef size_t before = m.notify.size
    if not notify_flush(m):
        notify_try_again(
            m, NOTIFY_DELAY_FIRST if m.notify.size < before else 2 * m.notify.delay)
    else:
        m.notify.delay = 0
    notify_listen(m)


cdef inline void notify_drain(Monitor* m) noexcept nogil:
    """Relay the messages that have arrived by now, and try once more to send the kept ones.

    The socket is shut first: a message that came later would be closed with it, unread.
    """
    cdef int yes = 1
    cdef int count = 0
    if m.notify.source.fd < 0:
        return
    shutdown(m.notify.source.fd, SHUT_RD)
    setsockopt(m.notify.source.fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes))
    m.notify.unread = True
    while count < NOTIFY_LAST and not m.notify.stuck and notify_take(m, True):
        count += 1
    if m.notify.unread:
        say(
            m.record, LEVEL_WARNING,
            b"The last notifications are lost, behind one whose descriptors cannot be closed")
    if not notify_flush(m):
        say(
            m.record, LEVEL_WARNING,
            b"The last notifications are lost, the host did not take them",
        )
