"""The container's stdout and stderr: read, log, hand to the attach clients."""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t

from conmon.core.attach cimport clients_send
from conmon.core.buffers cimport buffers_touch
from conmon.core.coalesce cimport coalesce, coalesce_end
from conmon.core.journal cimport journal_chunk
from conmon.core.kernel cimport (
    EPOLLET, EPOLLIN, F_GETPIPE_SZ, F_SETPIPE_SZ, FIONREAD, SPLICE_F_NONBLOCK, STDOUT_FILENO, fcntl,
    ioctl, read, splice,
)
from conmon.core.logfile cimport log_chunk
from conmon.core.logwrite cimport log_flush
from conmon.core.loop cimport source_close, watch
from conmon.core.state cimport CHUNK, Monitor, Source, Stream

cdef enum:
    PIPE = 64 << 10           # bytes that a pipe holds when it is made
    WIDE_PIPE = 256 << 10     # bytes that it holds during a burst
    READS = 4                 # in a burst, before other sources have their turn
    TERMINAL_READ = 4095      # bytes that a terminal's line discipline (n_tty) has at most
    TERMINAL_REST = 128 << 10  # bytes that a terminal holds at most: its buffers have 64 KiB


cdef inline void stream_widen(Stream* stream) noexcept nogil:
    """Give a pipe that was full more room, until the burst is over.

    Container and conmon, on a processor each, then seldom wait for one another (profile.md says
    what that gains). Only for a burst, since a user's pipes may hold 64 MiB together, and only a
    pipe whose size nobody else has changed. Where the kernel refuses, it stays as it is.
    """
    stream.full = True
    if not stream.wide and fcntl(stream.source.fd, F_GETPIPE_SZ) == PIPE:
        stream.wide = fcntl(stream.source.fd, F_SETPIPE_SZ, WIDE_PIPE) >= 0


cdef inline void stream_narrow(Stream* stream) noexcept nogil:
    """Take the room back; while too much is in the pipe, this is left to the next time."""
    stream.full = False
    if stream.wide and fcntl(stream.source.fd, F_GETPIPE_SZ) == WIDE_PIPE:
        stream.wide = fcntl(stream.source.fd, F_SETPIPE_SZ, PIPE) < 0


cdef inline void forward(Monitor* m, char tag, const char* data, size_t size) noexcept nogil:
    """Log first, then the clients (C12.3). Where there are none, the caller flushes the log."""
    m.record.counters.bytes_in += size
    buffers_touch(m, size)
    if m.log.fd >= 0:
        log_chunk(m, tag, data, size)
        if m.clients != NULL:
            log_flush(m)
    if m.journal.path != NULL:
        journal_chunk(m, tag, data, size)
    if m.clients != NULL:
        clients_send(m, tag, data, size)


cdef inline ssize_t stream_take(Monitor* m, Stream* stream) noexcept nogil:
    """One read of at most CHUNK bytes: read(2).

    Output that nobody wants is spliced from the pipe to our stdout, which is /dev/null: its bytes
    are not even copied. A terminal cannot be spliced.
    """
    cdef ssize_t n
    cdef bint wanted = m.log.fd >= 0 or m.journal.path != NULL or m.clients != NULL
    if not wanted and not stream.terminal and not stream.unspliceable:
        n = splice(stream.source.fd, NULL, STDOUT_FILENO, NULL, CHUNK, SPLICE_F_NONBLOCK)
        if n >= 0 or errno == EAGAIN or errno == EINTR:
            return n
        stream.unspliceable = True
    return read(stream.source.fd, m.chunk, CHUNK)


cdef inline ssize_t stream_read(Monitor* m, Stream* stream) noexcept nogil:
    """One read of at most CHUNK bytes and its forwarding; the bytes, 0 when there are none now."""
    cdef ssize_t n = stream_take(m, stream)
    while n < 0 and errno == EINTR:
        n = stream_take(m, stream)
    if n > 0:
        stream.hung_up = False
        forward(m, stream.tag, m.chunk, n)
        if n == CHUNK and not stream.full:
            stream_widen(stream)
        return n
    if n < 0 and errno == EAGAIN:
        return 0
    if stream.terminal:
        stream.hung_up = True
    else:
        source_close(m, &stream.source)
    return 0


cdef inline void stream_burst(Monitor* m, Stream* stream) noexcept nogil:
    """Take what there is; a burst is logged in one write, which costs a file system less.

    It keeps a large write in large pieces of memory, a small one page by page (profile.md).
    Clients are not given so much at once: what they cannot take has to be copied into queues.
    """
    cdef ssize_t most = TERMINAL_READ if stream.terminal else CHUNK
    cdef ssize_t n
    cdef ssize_t taken = 0
    cdef int _i
    for _i in range(READS):
        n = stream_read(m, stream)
        taken += n
        if n < most or m.stalled or m.clients != NULL:
            break
    log_flush(m)
    coalesce(m, stream, taken, on_coalesced)


cdef inline void on_coalesced(Monitor* m) noexcept nogil:
    """Read the stream that was left alone."""
    cdef Stream* stream = m.coalesced
    if stream.source.fd >= 0 and not m.stalled:
        stream_burst(m, stream)
    else:
        coalesce_end(m)


cdef inline void on_stream(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    """Read the stream; before it the other one, if that was left alone: what it has is older."""
    if m.coalesced != NULL and &m.coalesced.source != source:
        on_coalesced(m)
        coalesce_end(m)
    stream_burst(m, <Stream*>source)


cdef inline void streams_arm(Monitor* m) noexcept nogil:
    """Wait for the streams, unless a client must catch up first or the stream is left alone.

    A pty's master reports a hang-up for as long as no process has the slave open; edge-triggered
    it does so once, and again when the container opens its terminal anew and writes.
    """
    cdef uint32_t hung_up = <uint32_t>EPOLLET if m.out.hung_up else 0
    if m.clients != NULL:
        coalesce_end(m)
    watch(m, &m.out.source, 0 if m.stalled or m.coalesced == &m.out else EPOLLIN | hung_up)
    watch(m, &m.err.source, 0 if m.stalled or m.coalesced == &m.err else EPOLLIN)


cdef inline void stream_drain(Monitor* m, Stream* stream) noexcept nogil:
    """Take what is left at the container's end.

    All that it wrote is there by now, so no more than what is there now is read: another process
    that holds the pipe and goes on writing cannot hold up the end (C20.16). How much that is, only
    FIONREAD tells: a pipe counts slots, and one that splice(2) has filled from a socket holds far
    more than a page (934,464 bytes were seen in a pipe of 262,144).
    """
    cdef int left
    cdef ssize_t n
    if stream.source.fd < 0:
        return
    if stream.terminal or ioctl(stream.source.fd, FIONREAD, &left) < 0:
        left = TERMINAL_REST
    while left > 0 and stream.source.fd >= 0:
        n = stream_read(m, stream)
        if n == 0:
            break
        left -= n
    log_flush(m)
