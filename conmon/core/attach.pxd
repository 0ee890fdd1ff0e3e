"""Attach clients (C12): the container's output in packets, input for its stdin.

Output: one SOCK_SEQPACKET packet per 8192 bytes or less, preceded by the stream's byte. Sends
never block. What a client does not take waits in a queue of its own; when more than QUEUE_LIMIT
waits, the policy decides: `drop` disconnects the client, `block` pauses the container's streams
until the client has caught up, while everything else goes on.

Input: packets of at most 32768 bytes; end of file closes the container's stdin if it was asked
for (-i) and is not to stay open. While the container does not read, clients are not read.
"""

from libc.errno cimport EAGAIN, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strerror

from conmon.core.diag cimport LEVEL_INFO, LEVEL_WARNING, say, say_errno
from conmon.core.kernel cimport (
    EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_RD, SOCK_CLOEXEC,
    SOCK_NONBLOCK, SOL_SOCKET, SO_SNDBUF, accept4, close, iovec, mmsghdr, recv, sendmmsg,
    setsockopt, shutdown,
)
from conmon.core.loop cimport source_close, source_init, watch
from conmon.core.queue cimport queue_free, queue_reserve, queue_size
from conmon.core.state cimport (
    CHUNK, CLIENT_LIMIT, PACKET_DATA, QUEUE_LIMIT, QUEUE_RESUME, STDIN_PACKET, Client, Monitor,
    Queue, Source,
)
from conmon.core.stdin cimport stdin_end, stdin_flush, stdin_put
from conmon.core.timer cimport timer_set

cdef enum:
    PACKETS = CHUNK // PACKET_DATA
    SEND_BUFFER = 256 << 10  # bytes; doubled by the kernel, which counts 16 KiB for each packet
    ACCEPT_AGAIN = 250  # ms until a client is tried again that there was no fd for
    FRAME = 3  # bytes in the queue before a packet's data: its size, its stream byte


cdef inline void client_arm(Monitor* m, Client* client) noexcept nogil:
    """Wait for what can come next; a client that is through in both directions is closed."""
    cdef uint32_t events = 0
    if client.input_ended and client.output_ended:
        client_close(m, client)
        return
    if not client.input_ended and m.input.pending == NULL:
        events |= EPOLLIN
    if queue_size(&client.queue):
        events |= EPOLLOUT
    if events == 0 and not client.output_ended:
        events = EPOLLHUP  # nothing to do but to notice that it goes
    watch(m, &client.source, events)


cdef inline void clients_arm(Monitor* m) noexcept nogil:
    cdef Client* client = m.clients
    cdef Client* next
    while client != NULL:
        next = client.next
        client_arm(m, client)
        client = next


cdef inline void client_queue_free(Monitor* m, Client* client) noexcept nogil:
    queue_free(&client.queue)
    client_unstall(m, client)


cdef inline void client_unstall(Monitor* m, Client* client) noexcept nogil:
    if client.stalled:
        client.stalled = False
        m.stalled -= 1


cdef inline void client_close(Monitor* m, Client* client) noexcept nogil:
    cdef Client** link = &m.clients
    while link[0] != client:
        link = &link[0].next
    link[0] = client.next
    client_queue_free(m, client)
    source_close(m, &client.source)
    client.next = m.retired
    m.retired = client
    m.client_count -= 1
    m.record.counters.clients_now = m.client_count
    watch(m, &m.listener, EPOLLIN)  # it rests while there are too many


cdef inline void client_end_output(Monitor* m, Client* client) noexcept nogil:
    """Nothing can be sent to this client any more."""
    client.output_ended = True
    client_queue_free(m, client)


cdef inline void client_enqueue(
        Monitor* m, Client* client, char tag, const char* data, size_t size) noexcept nogil:
    """Let packets wait for a client that does not take them now."""
    cdef size_t part
    cdef char* frame
    cdef size_t frames = (size + PACKET_DATA - 1) // PACKET_DATA * FRAME
    cdef bint over = queue_size(&client.queue) + size + frames > QUEUE_LIMIT
    if over and m.record.drop_slow_clients and not m.record.ended:
        say(m.record, LEVEL_WARNING, b"Disconnecting an attach client that does not read")
        m.record.counters.clients_dropped += 1
        client.input_ended = True
        client_end_output(m, client)
        return
    if not queue_reserve(&client.queue, size + frames):
        say(m.record, LEVEL_WARNING, b"Disconnecting an attach client: out of memory")
        m.record.counters.clients_dropped += 1
        client.input_ended = True
        client_end_output(m, client)
        return
    while size:
        part = size if size < PACKET_DATA else PACKET_DATA
        frame = client.queue.data + client.queue.tail
        frame[0] = <char>((part + 1) & 0xff)
        frame[1] = <char>((part + 1) >> 8)
        frame[2] = tag
        memcpy(frame + FRAME, data, part)
        client.queue.tail += FRAME + part
        data += part
        size -= part
    if over and not client.stalled:
        client.stalled = True
        m.stalled += 1
        m.record.counters.stalls += 1


cdef inline size_t frame_size(const char* frame) noexcept nogil:
    """Bytes of the packet behind its two bytes of size."""
    return <unsigned char>frame[0] | (<size_t><unsigned char>frame[1] << 8)


cdef inline int client_send_queued(Client* client) noexcept nogil:
    """Send some of what waits, in one system call; how many packets, or -1 with errno."""
    cdef Queue* queue = &client.queue
    cdef mmsghdr messages[PACKETS]
    cdef iovec parts[PACKETS]
    cdef unsigned int count = 0
    cdef size_t at = queue.head
    cdef int sent
    cdef int _i
    memset(messages, 0, sizeof(messages))
    while at < queue.tail and count < PACKETS:
        parts[count].iov_base = queue.data + at + 2
        parts[count].iov_len = frame_size(queue.data + at)
        messages[count].msg_hdr.msg_iov = &parts[count]
        messages[count].msg_hdr.msg_iovlen = 1
        at += 2 + parts[count].iov_len
        count += 1
    sent = sendmmsg(client.source.fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL)
    for _i in range(sent):
        queue.head += 2 + frame_size(queue.data + queue.head)
    return sent


cdef inline void client_flush(Monitor* m, Client* client) noexcept nogil:
    """Send what waits for the client, as far as it goes."""
    while queue_size(&client.queue):
        if client_send_queued(client) >= 0 or errno == EINTR:
            continue
        if errno != EAGAIN:
            client_end_output(m, client)
            return
        break
    if queue_size(&client.queue) == 0:
        client_queue_free(m, client)
    elif queue_size(&client.queue) <= QUEUE_RESUME:
        client_unstall(m, client)


cdef inline void client_send(
        Monitor* m, Client* client, char tag, const char* data, size_t size) noexcept nogil:
    """Send a chunk in one system call; queue what the client does not take."""
    cdef mmsghdr messages[PACKETS]
    cdef iovec parts[2 * PACKETS]
    cdef unsigned int count = 0
    cdef int sent
    cdef size_t part, at = 0
    if queue_size(&client.queue) == 0:
        memset(messages, 0, sizeof(messages))
        while at < size:
            part = size - at if size - at < PACKET_DATA else PACKET_DATA
            parts[2 * count].iov_base = &tag
            parts[2 * count].iov_len = 1
            parts[2 * count + 1].iov_base = <void*>(data + at)
            parts[2 * count + 1].iov_len = part
            messages[count].msg_hdr.msg_iov = &parts[2 * count]
            messages[count].msg_hdr.msg_iovlen = 2
            count += 1
            at += part
        sent = sendmmsg(client.source.fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0 and errno != EAGAIN and errno != EINTR:
            client_end_output(m, client)
            return
        at = <size_t>sent * PACKET_DATA if sent > 0 else 0
        if at >= size:
            return
        data += at
        size -= at
    client_enqueue(m, client, tag, data, size)


cdef inline void clients_send(
        Monitor* m, char tag, const char* data, size_t size) noexcept nogil:
    """Give a chunk of at most CHUNK bytes of stream `tag` to every client."""
    cdef Client* client = m.clients
    cdef Client* next
    while client != NULL:
        next = client.next
        if not client.output_ended:
            client_send(m, client, tag, data, size)
            client_arm(m, client)
        client = next


cdef inline void client_read(Monitor* m, Client* client) noexcept nogil:
    cdef ssize_t n = recv(client.source.fd, m.chunk, STDIN_PACKET, MSG_DONTWAIT)
    if n < 0 and (errno == EAGAIN or errno == EINTR):
        return
    if n > 0:
        m.touched = max(m.touched, <size_t>n)
        stdin_put(m, m.chunk, n)
        return
    client.input_ended = True
    shutdown(client.source.fd, SHUT_RD)
    if m.record.has_stdin and not m.record.leave_stdin_open:
        stdin_end(m)
    else:
        say(m.record, LEVEL_INFO, b"Not closing input")


cdef inline void on_client(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    cdef Client* client = <Client*>source
    if events & EPOLLIN:
        client_read(m, client)
        if m.input.pending != NULL:
            clients_arm(m)  # the container does not take more: nobody is read for now
            if source.fd < 0:
                return
    if events & (EPOLLHUP | EPOLLERR):
        client_end_output(m, client)
        if not events & EPOLLIN and m.input.pending == NULL:
            client.input_ended = True
    elif events & EPOLLOUT:
        client_flush(m, client)
    client_arm(m, client)


cdef inline void on_stdin(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    """The container takes input again, or never will."""
    if stdin_flush(m):
        clients_arm(m)


cdef inline void on_listener(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    accept_client(m)


cdef inline void on_starved(Monitor* m) noexcept nogil:
    """There may be an fd for the client that waits by now."""
    watch(m, &m.listener, EPOLLIN)


cdef inline void accept_waiting(Monitor* m) noexcept nogil:
    """Take the clients that connected before there was a loop."""
    while m.listener.fd >= 0 and m.client_count < CLIENT_LIMIT and accept_client(m):
        pass


cdef inline bint accept_client(Monitor* m) noexcept nogil:
    """Take one client; False if there is none to be had."""
    cdef Source* source = &m.listener
    cdef Client* client
    cdef int send_buffer = SEND_BUFFER
    cdef int fd = accept4(source.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd < 0:
        if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
            if not m.starved_told:
                say_errno(
                    m.record, LEVEL_WARNING, b"No attach client can come in", strerror(errno))
            watch(m, source, 0)  # epoll would report it for ever
            timer_set(m, &m.starved, on_starved, ACCEPT_AGAIN)
            m.starved_told = True
        return False
    if m.starved_told:
        m.starved_told = False
        say(m.record, LEVEL_WARNING, b"Attach clients come in again")
    client = <Client*>calloc(1, sizeof(Client))
    if client == NULL:
        close(fd)
        m.record.counters.clients_dropped += 1
        return False
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer))
    source_init(&client.source, fd, on_client)
    client.next = m.clients  # newest first
    m.clients = client
    m.client_count += 1
    m.record.counters.clients_now = m.client_count
    m.record.counters.clients += 1
    if m.client_count >= CLIENT_LIMIT:
        say(m.record, LEVEL_WARNING, b"No more attach clients are taken until one goes")
        watch(m, source, 0)
    client_arm(m, client)
    return True


cdef inline void clients_free_retired(Monitor* m) noexcept nogil:
    cdef Client* client
    while m.retired != NULL:
        client = m.retired
        m.retired = client.next
        free(client)
