"""Was anything in the container killed for memory? (C15)

The kernel counts it: `oom_kill` in the cgroup's memory.events (v2) or memory.oom_control (v1,
since Linux 4.13). The count when the watch begins is the base, so that what an earlier container
of the same cgroup suffered is not reported again; only a rise is. inotify (v2) or an eventfd (v1)
tells when to look, and the end of the container is looked at once more.
"""

from libc.errno cimport ENODEV, errno
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport strtoll
from libc.string cimport memset, strchr, strerror, strlen, strncmp, strstr

from conmon.core.atomicfile cimport PATH_LIMIT
from conmon.core.diag cimport LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARNING, say, say_errno
from conmon.core.kernel cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, EPOLLIN, IN_CLOEXEC, IN_MODIFY, IN_NONBLOCK, O_CLOEXEC, O_CREAT,
    O_RDONLY, O_WRONLY, close, eventfd, inotify_add_watch, inotify_init1, open, pread, read,
    snprintf, statfs, statfs_t, write,
)
from conmon.core.loop cimport source_close, source_init, watch
from conmon.core.record cimport Record, record_text
from conmon.core.state cimport Monitor, Source

cdef enum:
    CGROUP2_SUPER_MAGIC = 0x63677270  # <linux/magic.h>
    CGROUP_TEXT = 8192                # bytes of /proc/PID/cgroup and of the counter files


cdef inline size_t read_text(int fd, char* text, size_t size) noexcept nogil:
    """Read a small file from its start as a string; its length, 0 on failure."""
    cdef ssize_t n = pread(fd, text, size - 1, 0)
    text[n if n > 0 else 0] = c"\0"
    return n if n > 0 else 0


cdef inline int64_t oom_count(Monitor* m) noexcept nogil:
    """How many of the cgroup's processes were killed so far; -1 where nobody counts."""
    cdef char text[CGROUP_TEXT]
    cdef const char* line = text
    if read_text(m.oom.counter_fd, text, sizeof(text)) == 0:
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
    if directory == NULL:
        return
    if <size_t>snprintf(path, sizeof(path), b"%s/%s", directory, name) >= sizeof(path):
        return
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
    if fd >= 0:
        close(fd)
    else:
        say_errno(record, LEVEL_WARNING, b"Failed to write the oom file", strerror(errno))


cdef inline void oom_check(Monitor* m) noexcept nogil:
    """Report once more kills than were seen."""
    cdef int64_t count
    if m.oom.counter_fd < 0:
        return
    count = oom_count(m)
    if count <= m.oom.seen:
        return
    m.oom.seen = count
    say(m.record, LEVEL_INFO, b"OOM event received")
    touch(m.record, record_text(m.record, m.record.persist_dir), b"oom")
    touch(m.record, record_text(m.record, m.record.bundle), b"oom")


cdef inline void on_oom(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    cdef char ignored[1024]
    if read(source.fd, ignored, sizeof(ignored)) > 0:
        oom_check(m)


cdef inline bint cgroup_path(
        int pid, const char* controller, char* path, size_t size) noexcept nogil:
    """The process's path in the v1 hierarchy of a controller, or in v2's where it is empty."""
    cdef char text[CGROUP_TEXT]
    cdef char name[64]
    cdef char* line = text
    cdef char* end
    cdef char* controllers
    cdef char* where
    cdef size_t length = strlen(controller)
    cdef char* found
    snprintf(name, sizeof(name), b"/proc/%d/cgroup", pid)
    cdef int fd = open(name, O_RDONLY | O_CLOEXEC)
    if fd < 0:
        return False
    if read_text(fd, text, sizeof(text)) == 0:
        line = NULL
    close(fd)
    while line != NULL and line[0] != c"\0":
        end = strchr(line, c"\n")
        if end != NULL:
            end[0] = c"\0"
        controllers = strchr(line, c":")
        where = strchr(controllers + 1, c":") if controllers != NULL else NULL
        if where != NULL:
            controllers += 1
            where[0] = c"\0"
            found = strstr(controllers, controller)
            # "memory" may stand in a list; for v2 the list is empty
            if (controllers[0] == c"\0") if length == 0 else (
                    found != NULL
                    and (found == controllers or found[-1] == c",")
                    and (found[length] == c"\0" or found[length] == c",")):
                snprintf(path, size, b"%s", where + 1)
                return True
        line = end + 1 if end != NULL else NULL
    return False


cdef inline void oom_open_v2(Monitor* m, const char* group) noexcept nogil:
    cdef char path[PATH_LIMIT]
    cdef int fd
    snprintf(path, sizeof(path), b"/sys/fs/cgroup%s/memory.events", group)
    m.oom.counter_fd = open(path, O_RDONLY | O_CLOEXEC)
    fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
    source_init(&m.oom.source, fd, on_oom)
    if m.oom.counter_fd < 0 or fd < 0 or inotify_add_watch(fd, path, IN_MODIFY) < 0:
        say_errno(m.record, LEVEL_DEBUG, b"Failed to watch memory.events", strerror(errno))


cdef inline void oom_open_v1(Monitor* m, const char* group) noexcept nogil:
    """Register an eventfd (Documentation/admin-guide/cgroup-v1/memory.rst, OOM control)."""
    cdef char path[PATH_LIMIT]
    cdef char text[32]
    cdef int fd, control
    snprintf(path, sizeof(path), b"/sys/fs/cgroup/memory%s/memory.oom_control", group)
    m.oom.counter_fd = open(path, O_RDONLY | O_CLOEXEC)
    snprintf(path, sizeof(path), b"/sys/fs/cgroup/memory%s/cgroup.event_control", group)
    control = open(path, O_WRONLY | O_CLOEXEC)
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    source_init(&m.oom.source, fd, on_oom)
    snprintf(text, sizeof(text), b"%d %d", fd, m.oom.counter_fd)
    if m.oom.counter_fd < 0 or control < 0 or write(control, text, strlen(text)) < 0:
        say_errno(m.record, LEVEL_DEBUG, b"Failed to watch memory.oom_control", strerror(errno))
    if control >= 0:
        close(control)


cdef inline void oom_open(Monitor* m) noexcept nogil:
    """Begin to watch the container's memory cgroup. One that is not there is no error."""
    cdef statfs_t about
    cdef char group[PATH_LIMIT - 64]
    cdef bint v2 = (statfs(b"/sys/fs/cgroup", &about) == 0
                    and about.f_type == CGROUP2_SUPER_MAGIC)
    m.oom.counter_fd = -1
    source_init(&m.oom.source, -1, on_oom)
    if m.record.persist_dir == 0 and m.record.bundle == 0:
        return
    if v2:
        if cgroup_path(m.record.container_pid, b"", group, sizeof(group)):
            oom_open_v2(m, group)
    elif cgroup_path(m.record.container_pid, b"memory", group, sizeof(group)):
        oom_open_v1(m, group)
    if m.oom.counter_fd >= 0:
        m.oom.seen = max(oom_count(m), <int64_t>0)
        watch(m, &m.oom.source, EPOLLIN)
