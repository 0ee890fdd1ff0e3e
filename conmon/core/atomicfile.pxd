"""Files that appear whole or not at all: a temporary file beside the goal, then rename(2).

A watcher of the directory sees one IN_MOVED_TO with the final name (CRI-O relies on it).
"""

from libc.errno cimport EINTR, ENAMETOOLONG, errno
from libc.string cimport strlen

from conmon.core.kernel cimport (
    O_CLOEXEC, close, fchmod, mkostemp, rename, snprintf, unlink, write,
)

cdef enum:
    PATH_LIMIT = 4096


cdef inline int write_whole(int fd, const char* data, size_t size) noexcept nogil:
    """Write all of `data`; 0 or -errno."""
    cdef size_t done = 0
    cdef ssize_t n
    while done < size:
        n = write(fd, data + done, size - done)
        if n >= 0:
            done += n
        elif errno != EINTR:
            return -errno
    return 0


cdef inline int write_atomically(
        const char* path, const char* data, size_t size) noexcept nogil:
    """Make `path` hold exactly `data`, with mode 0644; 0 or -errno, and then nothing is left."""
    cdef char temporary[PATH_LIMIT]
    cdef int fd, failure
    if strlen(path) + 8 > sizeof(temporary):
        return -ENAMETOOLONG
    snprintf(temporary, sizeof(temporary), b"%s.XXXXXX", path)
    fd = mkostemp(temporary, O_CLOEXEC)
    if fd < 0:
        return -errno
    failure = write_whole(fd, data, size)
    if failure == 0 and fchmod(fd, 0o644) < 0:
        failure = -errno
    if close(fd) < 0 and errno != EINTR and failure == 0:
        failure = -errno
    if failure == 0 and rename(temporary, path) < 0:
        failure = -errno
    if failure:
        unlink(temporary)
    return failure
