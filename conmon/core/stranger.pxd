"""How a process has ended that is not our child (C20.12).

wait() tells only its parent. Two interfaces tell others. While the parent has not waited, the
zombie's /proc/PID/stat has the wait status as its 52nd field (proc_pid_stat(5); since Linux 3.5,
and 0 for those who may not trace it). After that the pidfd has it (PIDFD_GET_INFO with
PIDFD_INFO_EXIT in <linux/pidfd.h>; since Linux 6.15).
"""

from libc.errno cimport EPERM, ESRCH, errno
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport strtol, strtoull
from libc.string cimport memset, strchr, strrchr

from conmon.core.kernel cimport (
    O_CLOEXEC, O_RDONLY, SYS_pidfd_open, SYS_pidfd_send_signal, close, ioctl, kill, open, pid_t,
    read, readlink, snprintf, syscall,
)

cdef enum:
    STAT_TEXT = 1024       # bytes of /proc/PID/stat: 52 numbers and a name
    INFO_EXIT = 8          # PIDFD_INFO_EXIT
    STATE = 3              # fields of the stat file, as proc_pid_stat(5) counts them
    START_TIME = 22
    EXIT_CODE = 52
    PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, struct pidfd_info)

cdef struct PidfdInfo:     # struct pidfd_info in its first version, 64 bytes
    uint64_t mask
    uint64_t cgroup
    uint32_t ids[11]
    int32_t exit_code


cdef inline int pidfd_open(pid_t pid) noexcept nogil:
    return syscall(SYS_pidfd_open, pid, 0)


cdef inline int status_of_reaped(int pidfd) noexcept nogil:
    """The wait status of a process that its parent has waited for; -1 if this kernel is silent."""
    cdef PidfdInfo info
    memset(&info, 0, sizeof(info))
    info.mask = INFO_EXIT
    if ioctl(pidfd, <unsigned long>PIDFD_GET_INFO, &info) < 0 or not info.mask & INFO_EXIT:
        return -1
    return info.exit_code


cdef inline char* read_stat(pid_t pid, char* text) noexcept nogil:
    """Read /proc/PID/stat into `text`, of STAT_TEXT bytes; its third field, or NULL."""
    cdef char path[64]
    cdef char* place
    cdef ssize_t n
    cdef int fd
    snprintf(path, sizeof(path), b"/proc/%d/stat", pid)
    fd = open(path, O_RDONLY | O_CLOEXEC)
    if fd < 0:
        return NULL
    n = read(fd, text, STAT_TEXT - 1)
    close(fd)
    text[n if n > 0 else 0] = 0
    place = strrchr(text, c")")  # the name before it may hold anything
    return place + 2 if place != NULL and place[1] == c" " else NULL


cdef inline char* stat_field(char* place, int number) noexcept nogil:
    """The field of that number, counted from `place`, the third; NULL if there is none."""
    cdef int _field
    for _field in range(STATE, number):
        place = strchr(place, c" ")
        if place == NULL:
            return NULL
        place += 1
    return place


cdef inline uint64_t start_time(char* place) noexcept nogil:
    """When a process began, in ticks since boot, from its stat file's third field on."""
    place = stat_field(place, START_TIME)
    return strtoull(place, NULL, 10) if place != NULL else 0


cdef inline bint stranger_lives(pid_t pid, uint64_t* began) noexcept nogil:
    """Whether a process is there, not dead, and the one that began then.

    `began` is found at the first look, where it is 0. Where the stat file cannot be read (no fd
    is free, or /proc is mounted with hidepid) kill() alone tells.
    """
    cdef char text[STAT_TEXT]
    cdef char* place
    if kill(pid, 0) < 0 and errno == ESRCH:
        return False
    place = read_stat(pid, text)
    if place == NULL:
        return True
    if began[0] == 0:
        began[0] = start_time(place)
    return place[0] != c"Z" and place[0] != c"X" and began[0] == start_time(place)


cdef inline int status_of_zombie(pid_t pid) noexcept nogil:
    """The wait status of a process that nobody has waited for; -1 if it is not told."""
    cdef char text[STAT_TEXT]
    cdef char path[64]
    cdef char* place = read_stat(pid, text)
    cdef char* end
    cdef int status
    if place == NULL or place[0] != c"Z":
        return -1
    place = stat_field(place, EXIT_CODE)
    if place == NULL:
        return -1
    status = <int>strtol(place, &end, 10)
    if end[0] != c"\n" and end[0] != c" ":  # a part of a number is another number
        return -1
    if status == 0:
        # 0 also stands for "not for you": this link asks for the same right
        snprintf(path, sizeof(path), b"/proc/%d/ns/user", pid)
        if readlink(path, text, STAT_TEXT) < 0:
            return -1
    return status


cdef inline int stranger_status(int pidfd, pid_t pid) noexcept nogil:
    """The wait status of a process that has ended, held by its pidfd; -1 if nothing tells.

    `pidfd` is -1 where there is none.
    """
    cdef int status = status_of_reaped(pidfd)
    if status >= 0:
        return status
    status = status_of_zombie(pid)
    if pidfd < 0:
        return status
    # The zombie has been there all the time, and its number is no other process's by now.
    if syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == 0 or errno == EPERM:
        return status
    return status_of_reaped(pidfd)
