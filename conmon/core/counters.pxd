"""Counters that anybody may read while the monitor runs, at no cost to it (docs/counters.md).

In the monitor life the record lives in a memfd, mapped shared; `conmon-counters` in the bundle
is a symlink to it (/proc/PID/fd/N): nothing is ever written to a disk for it, and it is gone
with the process. The record's first fields say where counters and their names are.
"""

from libc.errno cimport errno
from libc.stdlib cimport free
from libc.string cimport memcpy, strerror

from conmon.core.diag cimport LEVEL_DEBUG, say_errno
from conmon.core.kernel cimport (
    F_ADD_SEALS, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, MAP_FAILED,
    MAP_SHARED, MFD_ALLOW_SEALING, MFD_CLOEXEC, PROT_READ, PROT_WRITE, close, fcntl, ftruncate,
    getpid, memfd_create, mmap, snprintf, symlink, unlink,
)
from conmon.core.record cimport Record, record_text


cdef inline Record* record_publish(Record* record) noexcept nogil:
    """Move the record to where others can read it; the record, which has not moved on failure."""
    cdef char target[64]
    cdef const char* link
    cdef Record* published
    cdef int fd
    if record.counters_path == 0:
        return record
    fd = memfd_create(b"conmon-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    if fd < 0 or ftruncate(fd, record.size) < 0:
        say_errno(record, LEVEL_DEBUG, b"Failed to publish the counters", strerror(errno))
        close(fd)
        return record
    published = <Record*>mmap(
        NULL, record.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if <void*>published == MAP_FAILED:
        close(fd)
        return record
    # a reader that maps it must not be hit by SIGBUS, and cannot write
    fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
    memcpy(published, record, record.size)
    free(record)
    snprintf(target, sizeof(target), b"/proc/%d/fd/%d", getpid(), fd)
    link = record_text(published, published.counters_path)
    unlink(link)
    if symlink(target, link) < 0:
        say_errno(published, LEVEL_DEBUG, b"Failed to publish the counters", strerror(errno))
    return published
