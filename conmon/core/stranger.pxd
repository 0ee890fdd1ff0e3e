"""How a process has ended that is not our child (C20.12).

wait() tells only its parent. Two interfaces tell others. While the parent has not waited, the
zombie's /proc/PID/stat has the wait status as its last field (proc_pid_stat(5); since Linux 3.5,
and 0 for those who may not trace it). After that the pidfd has it (PIDFD_GET_INFO with
PIDFD_INFO_EXIT in <linux/pidfd.h>; since Linux 6.15).
"""

from libc.errno cimport EPERM, errno
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport atoi
from libc.string cimport memset, strrchr

from conmon.core.kernel cimport (
    O_CLOEXEC, O_RDONLY, SYS_pidfd_open, SYS_pidfd_send_signal, close, ioctl, open, pid_t, read,
    readlink, snprintf, syscall,
)

cdef enum:
    STAT_TEXT = 1024       # bytes of /proc/PID/stat: 52 numbers and a name
    INFO_EXIT = 8          # PIDFD_INFO_EXIT

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
    cdef unsigned long get_info = 0xC040FF0B  # _IOWR(0xFF, 11, struct pidfd_info)
    memset(&info, 0, sizeof(info))
    info.mask = INFO_EXIT
    if ioctl(pidfd, get_info, &info) < 0 or not info.mask & INFO_EXIT:
        return -1
    return info.exit_code


cdef inline int status_of_zombie(pid_t pid) noexcept nogil:
    """The wait status of a process that nobody has waited for; -1 if it is not told."""
    cdef char text[STAT_TEXT]
    cdef char path[64]
    cdef char* place
    cdef ssize_t n
    cdef int status
    cdef int fd
    snprintf(path, sizeof(path), b"/proc/%d/stat", pid)
    fd = open(path, O_RDONLY | O_CLOEXEC)
    if fd < 0:
        return -1
    n = read(fd, text, STAT_TEXT - 1)
    close(fd)
    text[n if n > 0 else 0] = 0
    place = strrchr(text, c")")  # the name before it may hold anything
    if place == NULL or place[1] != c" " or place[2] != c"Z":
        return -1
    place = strrchr(place, c" ")
    status = atoi(place + 1)
    if status == 0:
        # 0 also stands for "not for you": this link asks for the same right
        snprintf(path, sizeof(path), b"/proc/%d/ns/user", pid)
        if readlink(path, text, STAT_TEXT) < 0:
            return -1
    return status


cdef inline int stranger_status(int pidfd, pid_t pid) noexcept nogil:
    """The wait status of a process that has ended, held by its pidfd; -1 if nothing tells."""
    cdef int status = status_of_reaped(pidfd)
    if status >= 0 or pidfd < 0:
        return status
    status = status_of_zombie(pid)
    # The zombie has been there all the time, and its number is no other process's by now.
    if syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == 0 or errno == EPERM:
        return status
    return status_of_reaped(pidfd)
