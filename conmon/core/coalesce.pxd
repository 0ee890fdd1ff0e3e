"""Coalescing: lines that come close after each other are read together, some milliseconds later.

Network cards do so with interrupts (ethtool's rx-usecs). To sleep and to wake up is half of what a
line costs; a container that writes 1,000 lines a second and more costs that once for several. It
also wakes up those who follow the log once for all of them.

A stream that was read is left alone for a while, then read without being waited for, and so on
until nothing has come meanwhile. At most one stream is left alone, and only where nobody sees a
difference: no client is attached, the other stream is silent (what goes to stdout and to stderr
keeps its order), it is no terminal, and the pipe will be far from full. All else is waited for as
ever, and the container's end reads the stream at once.
"""

from libc.stdint cimport int64_t

from conmon.core.clock cimport now_us
from conmon.core.state cimport Monitor, Stream, Tick
from conmon.core.timer cimport timer_clear, timer_set

cdef enum:
    WORTH = 2        # reads that one read must replace, or there is nothing to gain
    FILL = 16 << 10  # bytes that may gather: a quarter of a pipe
    STEADY = 3       # reads in a row, each soon after the one before: the writer is steady


cdef inline void coalesce_end(Monitor* m) noexcept nogil:
    """Wait for both streams again."""
    if m.coalesced != NULL:
        timer_clear(m, &m.coalescing)
        m.coalesced = NULL


cdef inline void note_read(
        Monitor* m, const Stream* stream, ssize_t size, int64_t gap) noexcept nogil:
    """Count the reads in a row, `gap` us after the one before. While the stream is left alone it
    says nothing about the writer."""
    if size == 0 or stream != m.read_last:
        m.steady = 0
    elif m.coalesced == NULL:
        m.steady = (
            min(m.steady + 1, <int>STEADY) if gap * WORTH <= m.record.log_latency * 1000 else 0)


cdef inline void note_pace(Monitor* m, ssize_t size, int64_t gap) noexcept nogil:
    """Note in how many us FILL bytes gather, where `size` bytes came in `gap` us.

    A writer that is faster is believed at once, one that is slower only by and by: one small piece
    after a pause says nothing about the next.
    """
    m.filled_in = min(FILL * gap // size, 2 * m.filled_in + 1)


cdef inline void coalesce(
        Monitor* m, Stream* stream, ssize_t size, Tick handle) noexcept nogil:
    """After a read of `size` bytes: leave the stream alone until `handle` is called, or wait for
    it again."""
    cdef int64_t now, gap
    cdef int64_t ms = 0
    if m.record.log_latency == 0 or stream.terminal or m.clients != NULL:
        coalesce_end(m)
        return
    now = now_us()
    gap = now - m.read_at
    note_read(m, stream, size, gap)
    m.read_last = stream
    m.read_at = now
    if size > 0:
        note_pace(m, size, gap)
    if m.steady == STEADY:
        ms = min(<int64_t>m.record.log_latency, m.filled_in // 1000)
    if ms > 0 and stream.source.fd >= 0:
        m.coalesced = stream
        timer_set(m, &m.coalescing, handle, ms)
    else:
        coalesce_end(m)
