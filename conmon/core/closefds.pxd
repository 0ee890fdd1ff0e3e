"""Closing every fd that is not wanted any more."""

from conmon.core.kernel cimport SYS_close_range, _SC_OPEN_MAX, close, syscall, sysconf

cdef enum:
    FD_SCAN = 65536  # how far an old kernel (before 5.9) without close_range is searched


cdef inline void close_between(unsigned int first, unsigned int last) noexcept nogil:
    """Close the fds first..last, both included."""
    cdef long most
    if first > last or syscall(SYS_close_range, first, last, 0) == 0:
        return
    most = min(<long>sysconf(_SC_OPEN_MAX), <long>FD_SCAN)
    while first <= last and first < most:
        close(first)
        first += 1


cdef inline void close_all_but(int* keep, int count) noexcept nogil:
    """Close every fd from 3 on except `keep`, which is sorted by this."""
    cdef int i, k, fd
    cdef unsigned int first = 3
    for i in range(1, count):
        fd = keep[i]
        k = i
        while k > 0 and keep[k - 1] > fd:
            keep[k] = keep[k - 1]
            k -= 1
        keep[k] = fd
    for i in range(count):
        if keep[i] >= <int>first:
            close_between(first, keep[i] - 1)
            first = keep[i] + 1
    close_between(first, ~0)
