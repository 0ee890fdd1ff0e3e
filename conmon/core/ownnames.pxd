"""Names that conmon made in directories of others, and removes at its end.

A container that is started again has the same names, and its new monitor may have made its own by
the time that the old one comes to remove these. So each is looked at first. Between the look and
the removal lie some microseconds, in which a new monitor could still lose its name: nothing in
Linux removes a name only if it is a certain file.
"""

from libc.errno cimport ENOENT, errno
from libc.string cimport memcmp, strlen

from conmon.core.kernel cimport (
    AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_CLOEXEC, O_NOFOLLOW, O_PATH, fstat, fstatat, getpid, open,
    readlink, snprintf, stat_t, unlink,
)


cdef enum:
    LOOKS = 3  # at a name, where the system cannot look (EIO, ENOMEM): a name that stays is worse


cdef inline int own_name_hold(const char* path) noexcept nogil:
    """An fd of what has this name, a symlink itself, not to be used but to compare; -1: none.

    While it is open no other file gets this one's inode number.
    """
    return open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC)


cdef inline int remove_if_there(const char* path) noexcept nogil:
    return -errno if unlink(path) < 0 and errno != ENOENT else 0


cdef inline int name_is_ours(const char* path, const stat_t* ours) noexcept nogil:
    """Whether the name still is of the inode that `ours` describes; -errno."""
    cdef stat_t named
    if fstatat(AT_FDCWD, path, &named, AT_SYMLINK_NOFOLLOW) < 0:
        return -errno
    return named.st_dev == ours.st_dev and named.st_ino == ours.st_ino


cdef inline int own_name_remove(const char* path, int held) noexcept nogil:
    """Remove a name if it still is of the inode that `held` has open, or that is -1.

    0 or -errno.
    """
    cdef stat_t ours
    cdef int found = 1
    cdef int _i
    if held >= 0 and fstat(held, &ours) == 0:
        for _i in range(LOOKS):
            found = name_is_ours(path, &ours)
            if found >= 0 or found == -ENOENT:
                break
    if found < 0:
        return 0 if found == -ENOENT else found
    return remove_if_there(path) if found else 0


cdef inline int own_link_remove(const char* path) noexcept nogil:
    """Remove a symlink if it leads to an fd of this process; 0 or -errno."""
    cdef char target[64]
    cdef char ours[64]
    cdef ssize_t n = -1
    cdef int _i
    for _i in range(LOOKS):
        n = readlink(path, target, sizeof(target))
        if n >= 0 or errno == ENOENT:
            break
    snprintf(ours, sizeof(ours), b"/proc/%d/fd/", getpid())
    if n < 0:
        return 0 if errno == ENOENT else -errno
    if n < <ssize_t>strlen(ours) or memcmp(target, ours, strlen(ours)) != 0:
        return 0
    return remove_if_there(path)
