"""Was anything in the container killed for memory? (C15)

The kernel counts it: `oom_kill` in the cgroup's memory.events (v2) or memory.oom_control (v1,
since Linux 4.13). The count when the watch begins is the base, so that what an earlier container
of the same cgroup suffered is not reported again; only a rise is. inotify (v2) or an eventfd (v1)
tells when to look, and the end of the container is looked at once more.

A v1 eventfd speaks when memory has run out, before the kernel chooses and kills and counts, and
it does not speak again: so the count is looked at again a few times after it.
"""

from libc.errno cimport ENODEV, errno
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport strtoll
from libc.string cimport strchr, strerror, strlen, strncmp

from conmon.core.atomicfile cimport PATH_LIMIT
from conmon.core.diag cimport (
    LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARNING, MESSAGE_LIMIT, say, say_errno,
)
from conmon.core.kernel cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, EPOLLIN, IN_CLOEXEC, IN_MODIFY, IN_NONBLOCK, O_CLOEXEC, O_CREAT,
    O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY, close, eventfd, inotify_add_watch,
    inotify_init1, open, pread, read, snprintf, statfs, statfs_t, write,
)
from conmon.core.loop cimport source_init, watch
from conmon.core.record cimport Record, record_text
from conmon.core.state cimport CHUNK, Monitor, Source
from conmon.core.timer cimport timer_set

cdef enum:
    CGROUP2_SUPER_MAGIC = 0x63677270  # <linux/magic.h>
    CGROUP_TEXT = 16384               # bytes of /proc/PID/cgroup and of the counter files
    OOM_DELAY_FIRST = 1               # ms after a v1 notification, doubled each time
    OOM_DELAY_LAST = 4096


cdef inline char* scratch(Monitor* m, size_t offset) noexcept nogil:
    """Room for text: a part of the stream buffer, which is given back to the kernel when idle.

    On the stack it would stay dirty as long as the container runs.
    """
    m.touched = CHUNK
    return m.chunk + offset


cdef inline size_t read_text(int fd, char* text) noexcept nogil:
    """Read a small file from its start as a string; its length, 0 on failure."""
    cdef ssize_t n = pread(fd, text, CGROUP_TEXT - 1, 0)
    text[n if n > 0 else 0] = c"\0"
    return n if n > 0 else 0


cdef inline int64_t oom_count(Monitor* m) noexcept nogil:
    """How many of the cgroup's processes were killed so far; -1 where nobody counts."""
    cdef char* text = scratch(m, 0)
    cdef const char* line = text
    if read_text(m.oom.counter_fd, text) == 0:
        if errno == ENODEV:
            say(m.record, LEVEL_DEBUG, b"Cgroup appears to have been removed")
        return -1
    while line != NULL:
        if strncmp(line, b"oom_kill ", 9) == 0:
            return strtoll(line + 9, NULL, 10)
        line = strchr(line, c"\n")
        if line != NULL:
            line += 1
    return -1


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
    count = oom_count(m)
    if count < 0:  # the cgroup has gone: there is nothing to count any more
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


cdef inline bint names_controller(const char* list, const char* name) noexcept nogil:
    """Whether `name` stands in a comma-separated list; the empty name is v2's empty list."""
    cdef size_t length = strlen(name)
    if length == 0:
        return list[0] == c"\0"
    while list != NULL:
        if strncmp(list, name, length) == 0 and (
                list[length] == c"\0" or list[length] == c","):
            return True
        list = strchr(list, c",")
        if list != NULL:
            list += 1
    return False


cdef inline const char* cgroup_path(Monitor* m, const char* controller) noexcept nogil:
    """The container's path in the v1 hierarchy of a controller, or in v2's (""); NULL: none.

    /proc/PID/cgroup has lines `id:controllers:path` (cgroups(7)).
    """
    cdef char name[32]
    cdef char* line = scratch(m, 0)
    cdef char* end
    cdef char* controllers
    cdef char* path
    cdef size_t size = 0
    cdef int fd
    snprintf(name, sizeof(name), b"/proc/%d/cgroup", m.record.container_pid)
    fd = open(name, O_RDONLY | O_CLOEXEC)
    if fd >= 0:
        size = read_text(fd, line)
        close(fd)
    while size and line[0] != c"\0":
        end = strchr(line, c"\n")
        if end == NULL:
            break
        end[0] = c"\0"
        controllers = strchr(line, c":")
        path = strchr(controllers + 1, c":") if controllers != NULL else NULL
        if path != NULL:
            path[0] = c"\0"
            if names_controller(controllers + 1, controller):
                return path + 1
        line = end + 1
    return NULL


cdef inline void oom_open_v2(Monitor* m, const char* group) noexcept nogil:
    cdef char* path = scratch(m, CGROUP_TEXT)
    cdef int fd
    snprintf(path, PATH_LIMIT, b"/sys/fs/cgroup%s/memory.events", group)
    m.oom.counter_fd = open(path, O_RDONLY | O_CLOEXEC)
    fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
    source_init(&m.oom.source, fd, on_oom)
    if m.oom.counter_fd < 0 or fd < 0 or inotify_add_watch(fd, path, IN_MODIFY) < 0:
        say_errno(m.record, LEVEL_DEBUG, b"Failed to watch memory.events", strerror(errno))


cdef inline void oom_open_v1(Monitor* m, const char* group) noexcept nogil:
    """Register an eventfd (Documentation/admin-guide/cgroup-v1/memory.rst, OOM control)."""
    cdef char* path = scratch(m, CGROUP_TEXT)
    cdef char text[32]
    cdef int fd, control
    snprintf(path, PATH_LIMIT, b"/sys/fs/cgroup/memory%s/memory.oom_control", group)
    m.oom.counter_fd = open(path, O_RDONLY | O_CLOEXEC)
    snprintf(path, PATH_LIMIT, b"/sys/fs/cgroup/memory%s/cgroup.event_control", group)
    control = open(path, O_WRONLY | O_CLOEXEC)
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    source_init(&m.oom.source, fd, on_oom_announced)
    snprintf(text, sizeof(text), b"%d %d", fd, m.oom.counter_fd)
    if m.oom.counter_fd < 0 or control < 0 or write(control, text, strlen(text)) < 0:
        say_errno(m.record, LEVEL_DEBUG, b"Failed to watch memory.oom_control", strerror(errno))
    if control >= 0:
        close(control)


cdef inline void oom_open(Monitor* m) noexcept nogil:
    """Begin to watch the container's memory cgroup. One that is not there is no error."""
    cdef statfs_t about
    cdef const char* group
    cdef const char* controller = b"memory"
    cdef bint v2 = (statfs(b"/sys/fs/cgroup", &about) == 0
                    and about.f_type == CGROUP2_SUPER_MAGIC)
    m.oom.counter_fd = -1
    source_init(&m.oom.source, -1, on_oom)
    if m.record.persist_dir == 0 and m.record.bundle == 0:
        return
    if v2:
        controller = b""
    group = cgroup_path(m, controller)
    if group != NULL and v2:
        oom_open_v2(m, group)
    elif group != NULL:
        oom_open_v1(m, group)
    if m.oom.counter_fd >= 0:
        m.oom.seen = max(oom_count(m), <int64_t>0)
        watch(m, &m.oom.source, EPOLLIN)
