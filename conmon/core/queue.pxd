"""Bytes that wait: a queue that grows, and gives all its memory back when it is empty.

What waits lies in one piece, from `head` to `tail`. Before bytes are put at `tail` room is
reserved for them; what is taken moves `head`.
"""

from libc.string cimport memcpy, memmove

from conmon.core.kernel cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap,
)
from conmon.core.state cimport Queue

cdef enum:
    QUEUE_FIRST = 128 << 10  # bytes of the smallest queue


cdef inline size_t queue_size(const Queue* queue) noexcept nogil:
    """Bytes that wait."""
    return queue.tail - queue.head


cdef inline void queue_free(Queue* queue) noexcept nogil:
    """Forget what waits."""
    if queue.data != NULL:
        munmap(queue.data, queue.capacity)
    queue.data = NULL
    queue.capacity = queue.head = queue.tail = 0


cdef inline bint queue_reserve(Queue* queue, size_t more) noexcept nogil:
    """Make room for `more` bytes at the tail; False without memory.

    At least half of the room is free whenever bytes were moved, so that this happens seldom.
    """
    cdef size_t used = queue_size(queue)
    cdef size_t capacity = QUEUE_FIRST
    cdef char* data
    if queue.tail + more <= queue.capacity:
        return True
    if used + more <= queue.capacity // 2:
        memmove(queue.data, queue.data + queue.head, used)
    else:
        while capacity < 2 * (used + more):
            capacity *= 2
        data = <char*>mmap(
            NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if <void*>data == MAP_FAILED:
            return False
        if used:
            memcpy(data, queue.data + queue.head, used)
        queue_free(queue)
        queue.data = data
        queue.capacity = capacity
    queue.head = 0
    queue.tail = used
    return True
