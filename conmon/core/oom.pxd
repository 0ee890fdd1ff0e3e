"""Was anything in the container killed for memory? (C15)

memcg.pxd counts. Only a rise is reported, so that what an earlier container of the same cgroup
suffered is not reported again; and the end of the container is looked at once more.

A v1 eventfd speaks when memory has run out, before the kernel chooses and kills and counts, and
it does not speak again: so the count is looked at again a few times after it.
"""

from libc.errno cimport ENODEV, errno
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport strerror

from conmon.core.atomicfile cimport PATH_LIMIT
from conmon.core.buffers cimport buffers_touch
from conmon.core.diag cimport (
    LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARNING, MESSAGE_LIMIT, say, say_errno,
)
from conmon.core.kernel cimport (
    EPOLLIN, O_CLOEXEC, O_CREAT, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_WRONLY, close, open, read,
    snprintf,
)
from conmon.core.loop cimport source_init, watch
from conmon.core.memcg cimport count_kills
from conmon.core.record cimport Record, record_text
from conmon.core.state cimport CHUNK, Monitor, Source
from conmon.core.timer cimport timer_set

cdef enum:
    OOM_DELAY_FIRST = 1               # ms after a v1 notification, doubled each time
    OOM_DELAY_LAST = 4096


cdef inline void touch(Record* record, const char* directory, const char* name) noexcept nogil:
    cdef char path[PATH_LIMIT]
    cdef int fd
    cdef char text[MESSAGE_LIMIT]
    if directory == NULL:
        return
    if <size_t>snprintf(path, sizeof(path), b"%s/%s", directory, name) >= sizeof(path):
        say(record, LEVEL_WARNING, b"Failed to write the oom file: its path is too long")
        return
    # others may write there: nothing waits for a fifo's reader, or follows a symlink
    fd = open(
        path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY, 0o644)
    if fd >= 0:
        close(fd)
        return
    snprintf(text, sizeof(text), b"Failed to write the oom file %s", path)
    say_errno(record, LEVEL_WARNING, text, strerror(errno))


cdef inline bint oom_check(Monitor* m) noexcept nogil:
    """Report once more kills than were seen; whether there were any."""
    cdef int64_t count
    if m.oom.counter_fd < 0:
        return False
    # into the stream buffer: on the stack it would stay dirty as long as the container runs
    buffers_touch(m, CHUNK)
    count = count_kills(m.oom.counter_fd, m.chunk)
    if count < 0:  # there is nothing to count any more
        if errno == ENODEV:
            say(m.record, LEVEL_DEBUG, b"Cgroup appears to have been removed")
        close(m.oom.counter_fd)
        m.oom.counter_fd = -1
    if count <= m.oom.seen:
        return False
    m.oom.seen = count
    say(m.record, LEVEL_INFO, b"OOM event received")
    touch(m.record, record_text(m.record, m.record.persist_dir), b"oom")
    touch(m.record, record_text(m.record, m.record.bundle), b"oom")
    return True


cdef inline void oom_look_again(Monitor* m, long delay) noexcept nogil:
    """Look again after `delay` ms, or not any more."""
    m.oom.delay = delay
    if delay <= OOM_DELAY_LAST and m.oom.counter_fd >= 0:
        timer_set(m, &m.oom.timer, on_oom_timer, delay)


cdef inline void on_oom_timer(Monitor* m) noexcept nogil:
    if not oom_check(m):
        oom_look_again(m, 2 * m.oom.delay)


cdef inline void on_oom(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    """memory.events has changed: it has the count already (v2)."""
    cdef char ignored[1024]
    if read(source.fd, ignored, sizeof(ignored)) > 0:
        oom_check(m)


cdef inline void on_oom_announced(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    """Memory has run out, or the cgroup has gone (v1)."""
    cdef char ignored[8]
    if read(source.fd, ignored, sizeof(ignored)) > 0 and not oom_check(m):
        oom_look_again(m, OOM_DELAY_FIRST)


cdef inline void oom_open(Monitor* m) noexcept nogil:
    """Go on with the watch that the launch life has begun, if there is one."""
    cdef Record* record = m.record
    source_init(&m.oom.source, record.oom_event_fd, on_oom)
    if record.oom_announced:
        m.oom.source.handle = on_oom_announced
    m.oom.counter_fd = record.oom_counter_fd
    m.oom.seen = record.oom_kills
    watch(m, &m.oom.source, EPOLLIN)
