"""The journald log (C18): an entry per line, and what to do while the journal does not take it.

Lines are put together per stream: what has no newline yet is kept, up to KEPT bytes, and joined
with what comes next; a piece that is longer is an entry of its own, marked as partial. So the
entries depend on the bytes that were written, not on how they arrived, except for where a line
of more than KEPT bytes is cut.

A line may begin with its own priority, `<0>` to `<7>` (sd-daemon(3)); it is taken off, also where
it arrives in two reads. PRIORITY becomes 3 for `<0>` to `<3>`, 6 for the others: any other value
makes `podman logs` stop (C20.14), and these two keep `journalctl -p err` true. The exact value is
in CONTAINER_PRIORITY.

Entries that the journal does not take wait in a queue, and meanwhile the container's streams are
not read: at most one more chunk per stream can join them. Why it does not take them decides what
comes next:

    FULL    its queue is full: wait until it has room, as long as that may take
    PACED   the same, but the queue gives no good moment to go on: pause, then try
    AWAY    nobody is at the socket, or it fails: try again, for PATIENCE seconds
    LOSING  that was in vain: drop and count, go on reading, try again with later output

A host without a journal has no socket to wait for, so that comes to LOSING at once. The first
entry after LOSING says how much is missing.
"""

from libc.errno cimport EAGAIN, ENOENT, ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memmove, memset, strerror, strlen

from conmon.core.diag cimport LEVEL_INFO, LEVEL_WARNING, say, say_errno
from conmon.core.journalsocket cimport (
    BATCH, Batch, Entry, batch_send, journal_connect, journal_idle, journal_wakes_seldom,
)
from conmon.core.kernel cimport (
    EPOLLOUT, MADV_DONTNEED, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, POLLOUT, PROT_READ,
    PROT_WRITE, madvise, mmap, munmap, poll, pollfd, snprintf,
)
from conmon.core.loop cimport now_ms, source_close, source_init, watch
from conmon.core.record cimport record_text
from conmon.core.state cimport CHUNK, RECORD_DATA, Journal, JournalLine, Monitor, Source
from conmon.core.timer cimport timer_open, timer_read, timer_set

cdef enum:
    KEPT = 8191               # bytes of an unfinished line that wait for the rest of it
    KEPT_ROOM = 8192
    QUEUE_MAX = 4 << 20       # bytes of entries that wait for the journal
    PAUSE_MIN = 100           # us; PACED
    PAUSE_MAX = 3200
    PATIENCE = 30000          # ms
    RETRY = 100               # ms between two tries while AWAY
    RETRY_LOSING = 1000       # ms
    END_PATIENCE = 2000       # ms that the container's end waits for a journal that takes nothing
    END_LIMIT = 30000         # ms that it waits for a slow one

cdef enum Wait:
    READY = 0
    FULL = 1
    PACED = 2
    AWAY = 3
    LOSING = 4

cdef struct Queued:
    uint32_t size             # bytes of the message, which follows
    char priority
    char prefix
    bint partial


cdef inline size_t journal_area_size() noexcept nogil:
    return 2 * KEPT_ROOM + sizeof(Batch)


cdef inline Batch* journal_batch(Monitor* m) noexcept nogil:
    return <Batch*>(m.journal.area + 2 * KEPT_ROOM)


cdef inline int journal_open(Monitor* m) noexcept nogil:
    """Set up from the record, if that asks for the journal; 0 or -errno."""
    cdef Journal* journal = &m.journal
    source_init(&journal.source, -1, on_journal)
    source_init(&journal.timer, -1, on_journal_timer)
    journal.pause = PAUSE_MIN
    journal.path = record_text(m.record, m.record.journal_socket)
    journal.fields = record_text(m.record, m.record.journal_fields)
    journal.fields_size = m.record.journal_fields_size
    if journal.path == NULL:
        return 0
    journal.area = <char*>mmap(
        NULL, journal_area_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if <void*>journal.area == MAP_FAILED:
        return -ENOMEM
    journal.lines[0].kept = journal.area
    journal.lines[1].kept = journal.area + KEPT_ROOM
    return timer_open(m, &journal.timer)


cdef inline void journal_close(Monitor* m) noexcept nogil:
    """Give back what was taken, in a process that goes on."""
    if m.journal.path == NULL:
        return
    journal_queue_free(m)
    munmap(m.journal.area, journal_area_size())
    source_close(m, &m.journal.source)
    source_close(m, &m.journal.timer)


cdef inline void journal_give_back(Monitor* m) noexcept nogil:
    """After a burst the pages go back, except for those with unfinished lines."""
    cdef size_t start = 0
    if m.journal.path == NULL:
        return
    if m.journal.lines[0].size or m.journal.lines[1].size:
        start = 2 * KEPT_ROOM
    madvise(m.journal.area + start, journal_area_size() - start, MADV_DONTNEED)


# --- what waits -----------------------------------------------------------------------------

cdef inline void journal_queue_free(Monitor* m) noexcept nogil:
    if m.journal.queue != NULL:
        munmap(m.journal.queue, m.journal.capacity)
    m.journal.queue = NULL
    m.journal.capacity = m.journal.head = m.journal.tail = 0


cdef inline bint journal_queue_reserve(Journal* journal, size_t more) noexcept nogil:
    """Make room for `more` bytes at the tail; False where that is too much."""
    cdef size_t used = journal.tail - journal.head
    cdef size_t capacity = max(journal.capacity, <size_t>(64 << 10))
    cdef char* queue
    if journal.tail + more <= journal.capacity:
        return True
    if used + more > QUEUE_MAX:
        return False
    if used + more <= journal.capacity // 2:
        memmove(journal.queue, journal.queue + journal.head, used)
    else:
        while capacity < used + more:
            capacity *= 2
        queue = <char*>mmap(
            NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if <void*>queue == MAP_FAILED:
            return False
        if journal.queue != NULL:
            memcpy(queue, journal.queue + journal.head, used)
            munmap(journal.queue, journal.capacity)
        journal.queue = queue
        journal.capacity = capacity
    journal.head = 0
    journal.tail = used
    return True


cdef inline void journal_drop(Monitor* m, size_t size) noexcept nogil:
    """Count an entry that is lost."""
    m.record.counters.entries_dropped += 1
    m.record.counters.entry_bytes_dropped += size
    m.journal.lost += size
    m.journal.lost_entries += 1


cdef inline void journal_enqueue(Monitor* m, const Entry* entry) noexcept nogil:
    """Keep an entry for later."""
    cdef Journal* journal = &m.journal
    cdef Queued head
    cdef size_t size = entry.kept_size + entry.size
    if not journal_queue_reserve(journal, sizeof(head) + size):
        journal_drop(m, size)
        return
    head.size = <uint32_t>size
    head.priority = entry.priority
    head.prefix = entry.prefix
    head.partial = entry.partial
    memcpy(journal.queue + journal.tail, &head, sizeof(head))
    journal.tail += sizeof(head)
    if entry.kept_size:
        memcpy(journal.queue + journal.tail, entry.kept, entry.kept_size)
    memcpy(journal.queue + journal.tail + entry.kept_size, entry.data, entry.size)
    journal.tail += size


cdef inline void journal_drop_queue(Monitor* m) noexcept nogil:
    cdef Queued head
    while m.journal.head < m.journal.tail:
        memcpy(&head, m.journal.queue + m.journal.head, sizeof(head))
        journal_drop(m, head.size)
        m.journal.head += sizeof(head) + head.size
    journal_queue_free(m)


cdef inline void batch_from_queue(Monitor* m, Batch* batch) noexcept nogil:
    """Fill the batch with the first entries that wait."""
    cdef size_t at = m.journal.head
    cdef Queued head
    cdef Entry* entry
    batch.count = 0
    while at < m.journal.tail and batch.count < m.journal.window:
        memcpy(&head, m.journal.queue + at, sizeof(head))
        at += sizeof(head)
        entry = &batch.entries[batch.count]
        entry.kept_size = 0
        entry.data = m.journal.queue + at
        entry.size = head.size
        entry.priority = head.priority
        entry.prefix = head.prefix
        entry.partial = head.partial
        batch.count += 1
        at += head.size


# --- states ---------------------------------------------------------------------------------

cdef inline void journal_state(Monitor* m, int state) noexcept nogil:
    """Wait for what the new state waits for; streams rest while entries wait."""
    cdef Journal* journal = &m.journal
    cdef bint stalls = state != READY and state != LOSING
    if stalls and not journal.stalled:
        m.stalled += 1
        m.record.counters.journal_stalls += 1
    elif not stalls and journal.stalled:
        m.stalled -= 1
    journal.stalled = stalls
    watch(m, &journal.source, EPOLLOUT if state == FULL else 0)
    if state == PACED:
        timer_set(&journal.timer, journal.pause, 0)
    elif state == AWAY and journal.state != AWAY:
        journal.since = now_ms()
        timer_set(&journal.timer, RETRY * 1000, RETRY * 1000)
    elif state != AWAY and journal.state != READY:
        timer_set(&journal.timer, 0, 0)
    journal.state = state


cdef inline void journal_give_up(Monitor* m) noexcept nogil:
    """From now on drop what the journal does not take."""
    m.journal.hopeless = True
    m.journal.since = now_ms()
    journal_state(m, LOSING)
    journal_drop_queue(m)


cdef inline void journal_refused(Monitor* m, int failure) noexcept nogil:
    """An entry could not be sent: what to do now."""
    if failure == EAGAIN:
        journal_state(m, FULL if journal_wakes_seldom(m) else PACED)
        return
    if m.journal.state != AWAY and not m.journal.hopeless:
        say_errno(
            m.record, LEVEL_WARNING, b"The journal does not take entries", strerror(failure))
    m.journal.failure = failure
    if m.journal.hopeless or (failure == ENOENT and not m.journal.reached):
        journal_give_up(m)
    else:
        journal_state(m, AWAY)


cdef inline void journal_flush(Monitor* m) noexcept nogil:
    """Send what waits, from the first entry that was not taken, as far as it goes."""
    cdef Journal* journal = &m.journal
    cdef Batch* batch = journal_batch(m)
    cdef Queued head
    cdef int failure = 0
    cdef int i, sent
    while journal.head < journal.tail:
        batch_from_queue(m, batch)
        sent = batch_send(m, batch, &failure)
        for i in range(sent):
            journal.head += sizeof(head) + batch.entries[i].size
        # a receiver that takes a few entries at a time is not offered many
        journal.window = BATCH if failure == 0 else min(2 * sent + 4, <int>BATCH)
        batch.count = 0
        if failure:
            journal_refused(m, failure)
            return
    journal_queue_free(m)
    journal_state(m, READY)


cdef inline void batch_flush(Monitor* m, Batch* batch) noexcept nogil:
    """Send the batch; what is not taken joins the queue."""
    cdef int failure
    cdef int i
    cdef int sent = batch_send(m, batch, &failure)
    for i in range(sent, batch.count):
        journal_enqueue(m, &batch.entries[i])
    batch.count = 0
    if failure:
        m.journal.window = BATCH
        journal_refused(m, failure)


cdef inline void journal_put(Monitor* m, const Entry* entry) noexcept nogil:
    """Give one entry to the journal, behind those that wait."""
    cdef Batch* batch = journal_batch(m)
    if m.journal.state == LOSING:
        journal_drop(m, entry.kept_size + entry.size)
    elif m.journal.state != READY:
        journal_enqueue(m, entry)
    else:
        batch.entries[batch.count] = entry[0]
        batch.count += 1
        if batch.count == BATCH:
            batch_flush(m, batch)


cdef inline void journal_put_marker(Monitor* m) noexcept nogil:
    """Say in the journal how much is missing from it."""
    cdef char text[192]
    cdef Batch* batch = journal_batch(m)
    cdef Entry* entry = &batch.entries[0]
    cdef int failure
    snprintf(
        text, sizeof(text), b"conmon: %llu bytes of output (%llu entries) were not logged: %s\n",
        <unsigned long long>m.journal.lost, <unsigned long long>m.journal.lost_entries,
        strerror(m.journal.failure))
    memset(entry, 0, sizeof(Entry))
    entry.data = text
    entry.size = strlen(text)
    entry.priority = c"3"
    batch.count = 1
    batch_send(m, batch, &failure)
    batch.count = 0
    if failure == EAGAIN:
        journal_enqueue(m, entry)
    if failure:
        journal_refused(m, failure)
    if m.journal.state != LOSING:
        m.journal.lost = m.journal.lost_entries = 0


cdef inline void journal_find_again(Monitor* m, bint now) noexcept nogil:
    """While LOSING: see whether the journal is back, once in RETRY_LOSING or `now`."""
    if m.journal.state != LOSING or not (now or now_ms() - m.journal.since >= RETRY_LOSING):
        return
    m.journal.since = now_ms()
    if journal_connect(m) == 0:
        journal_state(m, READY)
        if m.journal.lost:
            journal_put_marker(m)
        if m.journal.state == READY:
            say(m.record, LEVEL_INFO, b"The journal takes entries again")


cdef inline void on_journal(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    journal_flush(m)


cdef inline void journal_go_on(Monitor* m) noexcept nogil:
    """After a pause: that was too long if journald had nothing to do, too short for few entries."""
    cdef Journal* journal = &m.journal
    cdef uint64_t before = m.record.counters.entries
    if journal_idle(m):
        journal.pause = max(journal.pause // 2, <int>PAUSE_MIN)
    journal_flush(m)
    if journal.state == PACED and m.record.counters.entries == before:
        journal_state(m, FULL)  # it stands still: no pause is long enough, the next place is
    if m.record.counters.entries - before < 8:
        journal.pause = min(journal.pause * 2, <int>PAUSE_MAX)


cdef inline void on_journal_timer(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    timer_read(source)
    if m.journal.state == PACED:
        journal_go_on(m)
        return
    journal_flush(m)
    if m.journal.state == AWAY and now_ms() - m.journal.since >= PATIENCE:
        journal_give_up(m)


# --- lines ----------------------------------------------------------------------------------

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
    m.touched = max(m.touched, <size_t>CHUNK)  # a batch is spread over pages: give them back
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


# --- the end --------------------------------------------------------------------------------

cdef inline void journal_wait(Monitor* m) noexcept nogil:
    """Wait for a journal that goes on taking entries, however slowly."""
    cdef int64_t start = now_ms()
    cdef int64_t progress = start
    cdef int64_t now = start
    cdef pollfd wait
    cdef size_t left
    while m.journal.head < m.journal.tail and now - progress < END_PATIENCE and (
            now - start < END_LIMIT):
        left = m.journal.tail - m.journal.head
        wait.fd = m.journal.source.fd  # none while AWAY: a pause
        wait.events = POLLOUT
        poll(&wait, 1, RETRY if m.journal.state == AWAY else END_PATIENCE)
        journal_flush(m)
        now = now_ms()
        if m.journal.tail - m.journal.head < left:
            progress = now


cdef inline void journal_finish(Monitor* m) noexcept nogil:
    """The container has ended: unfinished lines, what waits, and what is missing."""
    cdef char text[160]
    cdef int i
    if m.journal.path == NULL:
        return
    for i in range(2):
        if m.journal.lines[i].size:
            journal_find_again(m, True)
            journal_line(m, <char>(2 + i), b"", 0, True)
            batch_flush(m, journal_batch(m))
    journal_find_again(m, True)
    journal_wait(m)
    journal_drop_queue(m)
    if m.journal.lost:
        snprintf(
            text, sizeof(text), b"%llu bytes of output were not logged to the journal",
            <unsigned long long>m.journal.lost)
        say_errno(m.record, LEVEL_WARNING, text, strerror(m.journal.failure))
