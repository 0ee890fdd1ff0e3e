"""The journald log (C18): an entry per line.

Lines are put together per stream: what has no newline yet is kept, up to KEPT bytes, and joined
with what comes next; a piece that is longer is an entry of its own, marked as partial. So the
entries depend on the bytes that were written, not on how they arrived, except for where a line
of more than KEPT bytes is cut.

A line may begin with its own priority, `<0>` to `<7>` (sd-daemon(3)); it is taken off, also where
it arrives in two reads. PRIORITY becomes 3 for `<0>` to `<3>`, 6 for the others: any other value
makes `podman logs` stop (C20.14), and these two keep `journalctl -p err` true. The exact value is
in CONTAINER_PRIORITY.

What happens while the journal does not take entries is in journalstate.pxd, what at the container's
end in journalend.pxd.
"""

from libc.string cimport memchr, memcpy

from conmon.core.buffers cimport buffer_journal, buffers_touch, journal_room_give_back
from conmon.core.journalsocket cimport Batch, Entry
from conmon.core.journalstate cimport (
    batch_flush, journal_batch, journal_find_again, journal_put, on_journal,
)
from conmon.core.loop cimport source_close, source_init
from conmon.core.queue cimport queue_free
from conmon.core.record cimport record_text
from conmon.core.state cimport CHUNK, JOURNAL_ROOM, RECORD_DATA, Journal, JournalLine, Monitor
from conmon.core.timer cimport timer_clear

cdef enum:
    KEPT = 8191               # bytes of an unfinished line that wait for the rest of it
    KEPT_ROOM = 8192
    # the unfinished lines and a batch: this does not compile where they are too large
    AREA_FITS = 1 // (2 * KEPT_ROOM + sizeof(Batch) <= JOURNAL_ROOM)


cdef inline void journal_open(Monitor* m) noexcept nogil:
    """Set up from the record, if that asks for the journal."""
    cdef Journal* journal = &m.journal
    source_init(&journal.source, -1, on_journal)
    journal.path = record_text(m.record, m.record.journal_socket)
    journal.fields = record_text(m.record, m.record.journal_fields)
    journal.fields_size = m.record.journal_fields_size
    if journal.path == NULL:
        return
    journal.area = buffer_journal
    journal.lines[0].kept = journal.area
    journal.lines[1].kept = journal.area + KEPT_ROOM
    journal.batch = journal.area + 2 * KEPT_ROOM


cdef inline void journal_close(Monitor* m) noexcept nogil:
    """Give back what was taken, in a process that goes on."""
    if m.journal.path == NULL:
        return
    queue_free(&m.journal.queue)
    journal_room_give_back(0)
    source_close(m, &m.journal.source)
    timer_clear(m, &m.journal.timer)


cdef inline void journal_give_back(Monitor* m) noexcept nogil:
    """After a burst the pages go back, except for those with unfinished lines."""
    cdef size_t start = 0
    if m.journal.path == NULL:
        return
    if m.journal.lines[0].size or m.journal.lines[1].size:
        start = 2 * KEPT_ROOM
    journal_room_give_back(start)


cdef inline char line_prefix(const Entry* entry) noexcept nogil:
    """The priority that a line begins with, 0 for none."""
    cdef char start[3]
    cdef size_t kept = min(entry.kept_size, <size_t>3)
    if entry.kept_size + entry.size < 3:
        return 0
    memcpy(start, entry.kept, kept)
    memcpy(start + kept, entry.data, 3 - kept)
    if start[0] == c"<" and c"0" <= start[1] <= c"7" and start[2] == c">":
        return start[1]
    return 0


cdef inline void journal_line(
        Monitor* m, char tag, const char* data, size_t size, bint partial) noexcept nogil:
    """Send what is kept of a line and `data`, with its newline unless it is `partial`."""
    cdef JournalLine* line = &m.journal.lines[tag - 2]
    cdef size_t taken
    cdef Entry entry
    entry.kept = line.kept
    entry.kept_size = line.size
    entry.data = data
    entry.size = size
    if not line.inside:
        line.prefix = line_prefix(&entry)
        if line.prefix:
            taken = min(entry.kept_size, <size_t>3)
            entry.kept += taken
            entry.kept_size -= taken
            entry.data += 3 - taken
            entry.size -= 3 - taken
    entry.prefix = line.prefix
    if line.prefix:
        entry.priority = c"3" if line.prefix <= c"3" else c"6"
    else:
        entry.priority = c"6" if tag == 2 else c"3"
    entry.partial = partial and not m.record.journal_no_partial
    journal_put(m, &entry)
    line.size = 0
    line.inside = partial


cdef inline void journal_chunk(
        Monitor* m, char tag, const char* data, size_t size) noexcept nogil:
    """Log what one read of stream 2 or 3 returned."""
    cdef JournalLine* line = &m.journal.lines[tag - 2]
    cdef const char* end = data + size
    cdef const char* newline
    cdef size_t piece
    journal_find_again(m, False)
    buffers_touch(m, CHUNK)  # a batch is spread over pages: give them back
    while data < end:
        piece = min(<size_t>(end - data), <size_t>RECORD_DATA)
        newline = <const char*>memchr(data, c"\n", piece)
        if newline != NULL:
            piece = newline + 1 - data
            journal_line(m, tag, data, piece, False)
        elif line.size + piece <= KEPT:
            # at the chunk's end only: the bytes that were kept before are not needed any more
            batch_flush(m, journal_batch(m))
            memcpy(line.kept + line.size, data, piece)
            line.size += piece
        else:
            journal_line(m, tag, data, piece, True)
        data += piece
    batch_flush(m, journal_batch(m))
