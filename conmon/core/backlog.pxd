"""Output to attach clients: sent at once, or kept in one queue for all of them.

Every client gets the same packets, so what some have not taken yet is kept once, from the first
packet that somebody still wants. Each client has its place in it. That bounds the memory of all
clients together: whichever is behind, no more waits than QUEUE_LIMIT, the chunk that passed it,
and what the container's pipes held at its end.
"""

from libc.errno cimport EAGAIN, EINTR, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from conmon.core.diag cimport LEVEL_WARNING, say
from conmon.core.kernel cimport MSG_DONTWAIT, MSG_NOSIGNAL, iovec, mmsghdr, sendmmsg
from conmon.core.patience cimport client_progressed, client_stall, client_unstall
from conmon.core.queue cimport queue_free, queue_reserve, queue_size
from conmon.core.state cimport (
    CHUNK, PACKET_DATA, QUEUE_LIMIT, QUEUE_RESUME, Client, Monitor, Queue,
)

cdef enum:
    PACKETS = CHUNK // PACKET_DATA
    FRAME = 3  # bytes in the queue before a packet's data: its size, its stream byte


cdef inline uint64_t backlog_end(const Monitor* m) noexcept nogil:
    """The place behind everything that waits: that of a client which has taken all."""
    return m.backlog.first + queue_size(&m.backlog.queue)


cdef inline uint64_t client_due(const Monitor* m, const Client* client) noexcept nogil:
    """Bytes that wait for this client."""
    return 0 if client.output_ended else backlog_end(m) - client.place


cdef inline void backlog_trim(Monitor* m) noexcept nogil:
    """Forget what nobody wants any more."""
    cdef uint64_t least = backlog_end(m)
    cdef Client* client = m.clients
    while client != NULL:
        if not client.output_ended:
            least = min(least, client.place)
        client = client.next
    m.backlog.queue.head += least - m.backlog.first
    m.backlog.first = least
    if queue_size(&m.backlog.queue) == 0:
        queue_free(&m.backlog.queue)


cdef inline void client_end_output(Monitor* m, Client* client) noexcept nogil:
    """Nothing can be sent to this client any more."""
    client.output_ended = True
    client_unstall(m, client)
    backlog_trim(m)


cdef inline void client_lose(Monitor* m, Client* client, const char* why) noexcept nogil:
    """Disconnect a client although output waits for it. The next client_arm() closes its socket."""
    say(m.record, LEVEL_WARNING, why)
    m.record.counters.clients_dropped += 1
    client.input_ended = True
    client_end_output(m, client)


cdef inline size_t frame_size(const char* frame) noexcept nogil:
    """Bytes of the packet behind its two bytes of size."""
    return <unsigned char>frame[0] | (<size_t><unsigned char>frame[1] << 8)


cdef inline bint passing(int failure) noexcept nogil:
    """Whether a send may succeed later: its socket, or the kernel's memory, is full for now."""
    return failure == EAGAIN or failure == ENOBUFS or failure == ENOMEM


cdef inline int client_send_queued(Monitor* m, Client* client) noexcept nogil:
    """Send some of what waits, in one system call; how many packets, or -1 with errno."""
    cdef Queue* queue = &m.backlog.queue
    cdef mmsghdr messages[PACKETS]
    cdef iovec parts[PACKETS]
    cdef unsigned int count = 0
    cdef size_t at = queue.head + <size_t>(client.place - m.backlog.first)
    cdef int sent
    cdef int i
    memset(messages, 0, sizeof(messages))
    while at < queue.tail and count < PACKETS:
        parts[count].iov_base = queue.data + at + 2
        parts[count].iov_len = frame_size(queue.data + at)
        messages[count].msg_hdr.msg_iov = &parts[count]
        messages[count].msg_hdr.msg_iovlen = 1
        at += 2 + parts[count].iov_len
        count += 1
    sent = sendmmsg(client.source.fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL)
    for i in range(sent):
        client.place += 2 + parts[i].iov_len
    return sent


cdef inline void client_flush(Monitor* m, Client* client) noexcept nogil:
    """Send what waits for the client, as far as it goes."""
    cdef uint64_t before = client.place
    while client_due(m, client):
        if client_send_queued(m, client) >= 0 or errno == EINTR:
            continue
        if not passing(errno):
            client_end_output(m, client)
            return
        break
    if client_due(m, client) <= QUEUE_RESUME:
        client_unstall(m, client)
    elif client.stalled and client.place != before:
        client_progressed(client)
    if before == m.backlog.first:
        backlog_trim(m)


cdef inline int client_send(
        Monitor* m, Client* client, char tag, const char* data, size_t size) noexcept nogil:
    """Send a chunk in one system call to a client that is due nothing; the packets it took."""
    cdef mmsghdr messages[PACKETS]
    cdef iovec parts[2 * PACKETS]
    cdef unsigned int count = 0
    cdef int sent
    cdef size_t at = 0
    memset(messages, 0, sizeof(messages))
    while at < size:
        parts[2 * count].iov_base = &tag
        parts[2 * count].iov_len = 1
        parts[2 * count + 1].iov_base = <void*>(data + at)
        parts[2 * count + 1].iov_len = min(size - at, <size_t>PACKET_DATA)
        messages[count].msg_hdr.msg_iov = &parts[2 * count]
        messages[count].msg_hdr.msg_iovlen = 2
        count += 1
        at += PACKET_DATA
    sent = sendmmsg(client.source.fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL)
    if sent < 0 and errno != EINTR and not passing(errno):
        client_end_output(m, client)
    return max(sent, 0)


cdef inline bint backlog_put(
        Monitor* m, char tag, const char* data, size_t size) noexcept nogil:
    """Let packets wait; False without memory."""
    cdef Queue* queue = &m.backlog.queue
    cdef size_t frames = (size + PACKET_DATA - 1) // PACKET_DATA * FRAME
    cdef size_t part
    cdef char* frame
    if not queue_reserve(queue, size + frames):
        return False
    while size:
        part = min(size, <size_t>PACKET_DATA)
        frame = queue.data + queue.tail
        frame[0] = <char>((part + 1) & 0xff)
        frame[1] = <char>((part + 1) >> 8)
        frame[2] = tag
        memcpy(frame + FRAME, data, part)
        queue.tail += FRAME + part
        data += part
        size -= part
    return True


cdef inline int clients_take(
        Monitor* m, char tag, const char* data, size_t size, int packets) noexcept nogil:
    """Send a chunk to every client without a backlog.

    The smallest number of packets that one of all clients has taken.
    """
    cdef Client* client = m.clients
    cdef int least = packets
    while client != NULL:
        client.took = packets
        if not client.output_ended:
            client.took = 0 if client_due(m, client) else client_send(m, client, tag, data, size)
            if not client.output_ended:
                least = min(least, client.took)
        client = client.next
    return least


cdef inline void client_wait(
        Monitor* m, Client* client, int least, int packets, uint64_t before) noexcept nogil:
    """Set the client's place, after the chunk's packets from number `least` on were put into the
    backlog at `before`; stall it if too much waits for it."""
    if client.output_ended:
        return
    if client.place == before:
        if client.took == packets:
            client.place = backlog_end(m)
        else:
            client.place += <uint64_t>(client.took - least) * (FRAME + PACKET_DATA)
    if client_due(m, client) > QUEUE_LIMIT:
        client_stall(m, client)


cdef inline void clients_keep(
        Monitor* m, char tag, const char* data, size_t size, int packets) noexcept nogil:
    """Give a chunk to every client; what one does not take waits for it."""
    cdef Client* client = m.clients
    cdef uint64_t before
    cdef int least = clients_take(m, tag, data, size, packets)
    cdef size_t at = <size_t>least * PACKET_DATA
    if least == packets:
        return
    before = backlog_end(m)
    if backlog_put(m, tag, data + at, size - at):
        while client != NULL:
            client_wait(m, client, least, packets, before)
            client = client.next
        return
    while client != NULL:
        if not client.output_ended and client.took < packets:
            client_lose(m, client, b"Disconnecting an attach client: out of memory")
        client = client.next
