"""How long a client may take nothing, under the policy `drop`.

A client for which too much waits is stalled: the container's streams rest for it. With `block`
they do so for as long as the client wants. With `drop` a timer runs while a client is stalled,
and only then; one that has not taken a byte in the given time is disconnected.

What counts is what the client reads, not what its socket lets us send: that is writable again
only after three quarters of its buffer were read (unix_writable), which a client that is slow
but alive may not do in time.
"""

from libc.stdint cimport int64_t

from conmon.core.clock cimport now_ms
from conmon.core.kernel cimport TIOCOUTQ, ioctl
from conmon.core.state cimport Client, Monitor
from conmon.core.timer cimport timer_clear, timer_set

cdef enum:
    LOOKS = 5  # at a stalled client before it is given up


cdef inline int client_unread(const Client* client) noexcept nogil:
    """Bytes of the socket's buffer that the client has not read; they grow by our sending only."""
    cdef int unread = 0
    ioctl(client.source.fd, TIOCOUTQ, &unread)
    return unread


cdef inline void client_progressed(Client* client) noexcept nogil:
    client.unread = client_unread(client)
    client.progress_at = now_ms()
    client.looks = 0


cdef inline void look_later(Monitor* m) noexcept nogil:
    """Have the stalled clients looked at, under `drop`: on_patience in attach.pxd."""
    if m.record.slow_client_seconds:
        timer_set(
            m, &m.patience, m.patience.handle,
            <int64_t>m.record.slow_client_seconds * 1000 // LOOKS)


cdef inline void client_stall(Monitor* m, Client* client) noexcept nogil:
    """Let the container wait for the client."""
    if client.stalled:
        return
    client.stalled = True
    client_progressed(client)
    m.stalled += 1
    m.stalled_clients += 1
    m.record.counters.stalls += 1
    if m.stalled_clients == 1:
        look_later(m)


cdef inline void client_unstall(Monitor* m, Client* client) noexcept nogil:
    if not client.stalled:
        return
    client.stalled = False
    m.stalled -= 1
    m.stalled_clients -= 1
    if m.stalled_clients == 0:
        timer_clear(m, &m.patience)


cdef inline bint client_is_dead(Monitor* m, Client* client) noexcept nogil:
    """Look at a stalled client: whether it has taken nothing for too long.

    Time alone does not count, so many looks must have passed too: while the whole machine was
    suspended the client could take nothing.
    """
    if client_unread(client) < client.unread:
        client_progressed(client)
        return False
    client.looks += 1
    return (client.looks >= LOOKS
            and now_ms() - client.progress_at >= <int64_t>m.record.slow_client_seconds * 1000)
