"""What a target does with the bytes that libFuzzer gives it.

Numbers come from the end, so that the beginning stays what a person would write: the corpus can
be read, and a dictionary's words stay whole.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport abort
from libc.string cimport strlen

from conmon.core.kernel cimport write

cdef struct Feed:
    const char* data
    size_t size


cdef inline Feed feed_begin(const uint8_t* data, size_t size) noexcept nogil:
    cdef Feed feed
    feed.data = <const char*>data
    feed.size = size
    return feed


cdef inline int feed_number(Feed* feed) noexcept nogil:
    """A number from 0 to 255 from the end; 0 once nothing is left."""
    if feed.size == 0:
        return 0
    feed.size -= 1
    return <unsigned char>feed.data[feed.size]


cdef inline void hold(bint condition, const char* promise) noexcept nogil:
    """Crash, for libFuzzer to keep the input, where a promise is broken."""
    if not condition:
        write(2, b"broken: ", 8)
        write(2, promise, strlen(promise))
        write(2, b"\n", 1)
        abort()
