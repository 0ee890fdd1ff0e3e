"""What to do while the journal does not take entries (C18).

They wait in a queue, and meanwhile the container's streams are not read: at most one more chunk
per stream can join them. Why the journal does not take them decides what comes next:

    FULL    its queue is full: wait until it has room, as long as that may take
    AWAY    nobody is at the socket, or it fails: try again, for PATIENCE seconds
    LOSING  that was in vain: drop and count, go on reading, try again with later output

A host without a journal has no socket to wait for, so that comes to LOSING at once. The first
entry after LOSING says how much is missing.
"""

from libc.errno cimport EAGAIN, ENOENT
from libc.stdint cimport uint32_t
from libc.string cimport memset, strerror, strlen

from conmon.core.buffers cimport buffers_touch
from conmon.core.clock cimport now_ms
from conmon.core.diag cimport LEVEL_INFO, LEVEL_WARNING, say, say_errno
from conmon.core.journalqueue cimport (
    Queued, batch_from_queue, journal_drop, journal_drop_queue, journal_enqueue,
    journal_keep,
)
from conmon.core.journalsocket cimport BATCH, Batch, Entry, batch_send, journal_connect
from conmon.core.kernel cimport EPOLLOUT, nanosleep, snprintf, timespec
from conmon.core.loop cimport watch
from conmon.core.queue cimport queue_free, queue_size
from conmon.core.state cimport CHUNK, Journal, Monitor, Source
from conmon.core.timer cimport timer_clear, timer_set

cdef enum:
    PATIENCE = 30000          # ms
    RETRY = 100               # ms between two tries while AWAY
    RETRY_LOSING = 1000       # ms

cdef enum Wait:
    READY = 0
    FULL = 1
    AWAY = 2
    LOSING = 3


cdef inline Batch* journal_batch(Monitor* m) noexcept nogil:
    """Where the entries of one sendmmsg are gathered."""
    return <Batch*>m.journal.batch


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
    if state == AWAY and journal.state != AWAY:
        journal.since = now_ms()
        timer_set(m, &journal.timer, on_journal_timer, RETRY)
    elif state != AWAY and journal.state == AWAY:
        timer_clear(m, &journal.timer)
    journal.state = state


cdef inline void journal_give_up(Monitor* m) noexcept nogil:
    """From now on drop what the journal does not take."""
    m.journal.hopeless = True
    m.journal.since = now_ms()
    journal_state(m, LOSING)
    journal_drop_queue(m)


cdef inline void journal_refused(Monitor* m, int failure) noexcept nogil:
    """An entry could not be sent: what to do now."""
    m.journal.failure = failure
    if failure == EAGAIN and m.journal.source.fd >= 0:
        journal_state(m, FULL)
        return
    if m.journal.state != AWAY and not m.journal.hopeless:
        say_errno(
            m.record, LEVEL_WARNING, b"The journal does not take entries", strerror(failure))
    if m.journal.hopeless or (failure == ENOENT and not m.journal.reached):
        journal_give_up(m)
    else:
        journal_state(m, AWAY)


cdef inline void journal_flush(Monitor* m) noexcept nogil:
    """Send what waits, from the first entry that was not taken, as far as it goes."""
    cdef Journal* journal = &m.journal
    cdef Batch* batch = journal_batch(m)
    cdef int failure = 0
    cdef int i, sent
    while queue_size(&journal.queue):
        buffers_touch(m, CHUNK)  # the batch's pages are to be given back
        batch_from_queue(m, batch)
        sent = batch_send(m, batch, &failure)
        for i in range(sent):
            journal.queue.head += sizeof(Queued) + batch.entries[i].size
        if sent:
            journal.marked = journal.marked_entries = 0  # a marker was the first
        # a receiver that takes a few entries at a time is not offered many
        journal.window = min(2 * sent + 4, <int>BATCH)
        batch.count = 0
        if failure:
            journal_refused(m, failure)
            return
    queue_free(&m.journal.queue)
    journal_state(m, READY)
    if m.journal.lost:
        journal_put_marker(m)


cdef inline void batch_flush(Monitor* m, Batch* batch) noexcept nogil:
    """Send the batch; what is not taken joins the queue."""
    cdef int failure
    cdef int i
    cdef int sent = batch_send(m, batch, &failure)
    for i in range(sent, batch.count):
        journal_keep(m, &batch.entries[i])
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
        journal_keep(m, entry)
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
    if failure and (failure == EAGAIN or not m.journal.hopeless) and journal_enqueue(m, entry):
        m.journal.marked = m.journal.lost
        m.journal.marked_entries = m.journal.lost_entries
    if not failure or m.journal.marked_entries:
        m.journal.lost = m.journal.lost_entries = 0
    if failure:
        journal_refused(m, failure)


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
    """There is room for one entry; a moment later, some 60 us, there is room for more.

    With a queue of 10 that halves the CPU time (profile.md).
    """
    cdef timespec pause
    pause.tv_sec = 0
    pause.tv_nsec = 1
    nanosleep(&pause, NULL)
    journal_flush(m)


cdef inline void on_journal_timer(Monitor* m) noexcept nogil:
    journal_flush(m)
    if m.journal.state != AWAY:
        return
    if now_ms() - m.journal.since >= PATIENCE:
        journal_give_up(m)
    else:
        timer_set(m, &m.journal.timer, on_journal_timer, RETRY)
