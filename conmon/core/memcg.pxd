"""The container's memory cgroup: where it is, and how often the kernel killed in it. (C15)

The kernel counts: `oom_kill` in the cgroup's memory.events (v2) or memory.oom_control (v1, since
Linux 4.13). inotify (v2) or an eventfd (v1) tells when to look. The launch life opens both before
it reports the container's pid. The caller starts the container only after that, so kills that were
counted by then are not this container's.
"""

from libc.errno cimport ENOENT, errno
from libc.stdint cimport int64_t
from libc.stdlib cimport strtoll
from libc.string cimport strchr, strlen, strncmp

from conmon.core.atomicfile cimport PATH_LIMIT
from conmon.core.kernel cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, IN_CLOEXEC, IN_MODIFY, IN_NONBLOCK, O_CLOEXEC, O_RDONLY, O_WRONLY,
    close, eventfd, inotify_add_watch, inotify_init1, open, pid_t, pread, snprintf, statfs,
    statfs_t, write,
)

cdef enum:
    CGROUP2_SUPER_MAGIC = 0x63677270  # <linux/magic.h>
    CGROUP_TEXT = 16384               # bytes of /proc/PID/cgroup and of the counter files

cdef struct KillWatch:
    int event_fd    # inotify (v2) or eventfd (v1): readable when it is time to look; -1: none
    int counter_fd  # memory.events or memory.oom_control; -1: none
    bint announced  # the event comes before the kill that it tells of (v1)
    int64_t kills   # that are counted already


cdef inline size_t read_text(int fd, char* text) noexcept nogil:
    """Read a small file from its start as a string; its length, 0 on failure."""
    cdef ssize_t n = pread(fd, text, CGROUP_TEXT - 1, 0)
    text[n if n > 0 else 0] = c"\0"
    return n if n > 0 else 0


cdef inline int64_t count_kills(int fd, char* text) noexcept nogil:
    """The count in a counter file; -1 where nobody counts, ENODEV if the cgroup has gone.

    `text`: room for CGROUP_TEXT bytes.
    """
    cdef const char* line = text
    (&errno)[0] = 0
    if read_text(fd, text) == 0:
        return -1
    while line != NULL:
        if strncmp(line, b"oom_kill ", 9) == 0:
            return strtoll(line + 9, NULL, 10)
        line = strchr(line, c"\n")
        if line != NULL:
            line += 1
    return -1


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


cdef inline const char* cgroup_path(
        pid_t pid, const char* controller, char* text) noexcept nogil:
    """A process's path in the v1 hierarchy of a controller, or in v2's (""); NULL: none.

    /proc/PID/cgroup has lines `id:controllers:path` (cgroups(7)). The path stands in `text`,
    which has room for CGROUP_TEXT bytes.
    """
    cdef char name[32]
    cdef char* line = text
    cdef char* end
    cdef char* controllers
    cdef char* path
    cdef size_t size = 0
    cdef int fd
    snprintf(name, sizeof(name), b"/proc/%d/cgroup", pid)
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


cdef inline void watch_v2(KillWatch* kills, const char* group) noexcept nogil:
    cdef char path[PATH_LIMIT]
    snprintf(path, sizeof(path), b"/sys/fs/cgroup%s/memory.events", group)
    kills.counter_fd = open(path, O_RDONLY | O_CLOEXEC)
    kills.event_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
    if kills.event_fd >= 0 and inotify_add_watch(kills.event_fd, path, IN_MODIFY) < 0:
        close(kills.event_fd)
        kills.event_fd = -1


cdef inline void watch_v1(KillWatch* kills, const char* group) noexcept nogil:
    """Register an eventfd (Documentation/admin-guide/cgroup-v1/memory.rst, OOM control)."""
    cdef char path[PATH_LIMIT]
    cdef char text[32]
    cdef int control
    cdef bint registered = False
    kills.announced = True
    snprintf(path, sizeof(path), b"/sys/fs/cgroup/memory%s/memory.oom_control", group)
    kills.counter_fd = open(path, O_RDONLY | O_CLOEXEC)
    kills.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    snprintf(path, sizeof(path), b"/sys/fs/cgroup/memory%s/cgroup.event_control", group)
    control = open(path, O_WRONLY | O_CLOEXEC)
    if control >= 0:
        snprintf(text, sizeof(text), b"%d %d", kills.event_fd, kills.counter_fd)
        registered = write(control, text, strlen(text)) > 0
        close(control)
    if not registered and kills.event_fd >= 0:
        close(kills.event_fd)
        kills.event_fd = -1


cdef inline int watch_kills(KillWatch* kills, pid_t pid) noexcept nogil:
    """Begin to watch the memory cgroup of a process; errno where an fd could not be had, else 0.

    Without the event the count can still be looked at in the end; without the count there is
    nothing to tell.
    """
    cdef int error = 0
    cdef statfs_t about
    cdef char text[CGROUP_TEXT]
    cdef bint v2 = (statfs(b"/sys/fs/cgroup", &about) == 0
                    and about.f_type == CGROUP2_SUPER_MAGIC)
    cdef const char* group = cgroup_path(pid, b"" if v2 else b"memory", text)
    kills.event_fd = kills.counter_fd = -1
    kills.announced = False
    kills.kills = 0
    if group == NULL:
        return ENOENT
    if v2:
        watch_v2(kills, group)
    else:
        watch_v1(kills, group)
    if kills.counter_fd < 0 or kills.event_fd < 0:
        error = errno
    if kills.counter_fd >= 0:
        kills.kills = max(count_kills(kills.counter_fd, text), <int64_t>0)
    return error
