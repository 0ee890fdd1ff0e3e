"""Entries that wait for the journal, and the count of those that do not get there (C18)."""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from conmon.core.journalsocket cimport Batch, Entry
from conmon.core.queue cimport queue_free, queue_reserve, queue_size
from conmon.core.state cimport Monitor, Queue

cdef enum:
    # Bytes of entries that wait. The streams rest meanwhile, so only what a container leaves in its
    # pipes at its end comes to more than some 100 kB: 9 bytes for every empty line.
    JOURNAL_QUEUE_MAX = 64 << 20

cdef struct Queued:
    uint32_t size             # bytes of the message, which follows
    char priority
    char prefix
    bint partial


cdef inline void journal_drop(Monitor* m, size_t size) noexcept nogil:
    """Count an entry that is lost."""
    m.record.counters.entries_dropped += 1
    m.record.counters.entry_bytes_dropped += size
    m.journal.lost += size
    m.journal.lost_entries += 1


cdef inline bint journal_enqueue(Monitor* m, const Entry* entry) noexcept nogil:
    """Keep an entry for later; False without room."""
    cdef Queue* queue = &m.journal.queue
    cdef Queued head
    cdef size_t size = entry.kept_size + entry.size
    cdef bint fits = queue_size(queue) + sizeof(head) + size <= JOURNAL_QUEUE_MAX
    if not fits or not queue_reserve(queue, sizeof(head) + size):
        return False
    head.size = <uint32_t>size
    head.priority = entry.priority
    head.prefix = entry.prefix
    head.partial = entry.partial
    memcpy(queue.data + queue.tail, &head, sizeof(head))
    queue.tail += sizeof(head)
    if entry.kept_size:
        memcpy(queue.data + queue.tail, entry.kept, entry.kept_size)
    memcpy(queue.data + queue.tail + entry.kept_size, entry.data, entry.size)
    queue.tail += size
    return True


cdef inline void journal_keep(Monitor* m, const Entry* entry) noexcept nogil:
    """Keep an entry of output for later, or count it."""
    if not journal_enqueue(m, entry):
        journal_drop(m, entry.kept_size + entry.size)


cdef inline void journal_drop_queue(Monitor* m) noexcept nogil:
    """Drop all entries that wait, and count them; also what the marker at the head would have
    reported, if there is one."""
    cdef Queued head
    cdef bint marker = m.journal.marked_entries > 0
    while queue_size(&m.journal.queue):
        memcpy(&head, m.journal.queue.data + m.journal.queue.head, sizeof(head))
        if not marker:
            journal_drop(m, head.size)
        marker = False
        m.journal.queue.head += sizeof(head) + head.size
    queue_free(&m.journal.queue)
    m.journal.lost += m.journal.marked
    m.journal.lost_entries += m.journal.marked_entries
    m.journal.marked = m.journal.marked_entries = 0


cdef inline void batch_from_queue(Monitor* m, Batch* batch) noexcept nogil:
    """Fill the batch with the first entries that wait."""
    cdef const Queue* queue = &m.journal.queue
    cdef size_t at = queue.head
    cdef Queued head
    cdef Entry* entry
    batch.count = 0
    while at < queue.tail and batch.count < m.journal.window:
        memcpy(&head, queue.data + at, sizeof(head))
        at += sizeof(head)
        entry = &batch.entries[batch.count]
        entry.kept_size = 0
        entry.data = queue.data + at
        entry.size = head.size
        entry.priority = head.priority
        entry.prefix = head.prefix
        entry.partial = head.partial
        batch.count += 1
        at += head.size
