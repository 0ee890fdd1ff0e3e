"""Attach clients (C12): who comes, what they send, who goes. Output to them is backlog.pxd's.

Output: one SOCK_SEQPACKET packet per 8192 bytes or less, preceded by the stream's byte. Sends
never block. What a client does not take waits; when more than QUEUE_LIMIT waits for one, the
container's streams rest until it has caught up, while everything else goes on. The policy `drop`
disconnects it if it takes nothing for some time: patience.pxd.

Input: packets of at most 32768 bytes; end of file closes the container's stdin if it was asked
for (-i) and is not to stay open. While the container does not read, clients are not read. A client
that disconnects then becomes a leaver: its place is free for another client, and its socket is kept
until what it has sent is read.
"""

from libc.errno cimport (
    EAGAIN, ECONNRESET, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno,
)
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport strerror

from conmon.core.backlog cimport (
    backlog_end, client_due, client_end_output, client_flush, client_lose, clients_keep,
)
from conmon.core.buffers cimport buffers_touch
from conmon.core.diag cimport LEVEL_INFO, LEVEL_WARNING, say, say_errno
from conmon.core.farewell cimport socket_close, socket_end_input, socket_part
from conmon.core.kernel cimport (
    EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, FIONREAD, MSG_DONTWAIT, SHUT_RDWR, SOCK_CLOEXEC,
    SOCK_NONBLOCK, SOL_SOCKET, SO_PASSRIGHTS, SO_SNDBUF, accept4, close, getsockopt, ioctl, recv,
    setsockopt, shutdown, socklen_t,
)
from conmon.core.loop cimport source_close, source_init, watch
from conmon.core.passed cimport message_fds
from conmon.core.patience cimport client_is_dead, look_later
from conmon.core.state cimport (
    CLIENT_LIMIT, CLIENTS_AT_END, LEAVER_LIMIT, PACKET_DATA, STDIN_PACKET, Client, Monitor, Source,
)
from conmon.core.stdin cimport stdin_end, stdin_flush, stdin_put
from conmon.core.timer cimport timer_clear, timer_set

cdef enum:
    SEND_BUFFER = 256 << 10  # bytes; doubled by the kernel, which counts 16 KiB for each packet
    ACCEPT_AGAIN = 250  # ms until a client is tried again that there was no fd for


cdef inline void client_arm(Monitor* m, Client* client) noexcept nogil:
    """Wait for what can come next; a client that is through in both directions is closed."""
    cdef uint32_t events = 0
    if client.input_ended and client.output_ended:
        client_close(m, client)
        return
    if not client.input_ended and m.input.pending == NULL:
        events |= EPOLLIN
    if client_due(m, client):
        events |= EPOLLOUT
    if events == 0:
        events = EPOLLHUP  # nothing to do but to notice that it goes
    watch(m, &client.source, events)


cdef inline void clients_arm(Monitor* m) noexcept nogil:
    cdef Client* client = m.clients
    cdef Client* next
    while client != NULL:
        next = client.next
        client_arm(m, client)
        client = next


cdef inline void listen_for_clients(Monitor* m) noexcept nogil:
    """Wait for more of them, unless there are too many."""
    if m.client_count < CLIENT_LIMIT:
        watch(m, &m.listener, EPOLLIN)


cdef inline void client_unlink(Monitor* m, Client* client) noexcept nogil:
    """Take a client out of the list; its place is free."""
    cdef Client** link = &m.clients
    while link[0] != client:
        link = &link[0].next
    link[0] = client.next
    client.next = NULL
    m.client_count -= 1
    m.record.counters.clients_now = m.client_count
    listen_for_clients(m)


cdef inline void client_retire(Monitor* m, Client* client) noexcept nogil:
    """Close the socket; the memory is freed when no event of this round can name it."""
    cdef int gate = socket_part(client.source.fd)
    source_close(m, &client.source)
    if gate >= 0:
        close(gate)
    client.next = m.retired
    m.retired = client


cdef inline void client_close(Monitor* m, Client* client) noexcept nogil:
    client_end_output(m, client)
    client_unlink(m, client)
    client_retire(m, client)


cdef inline void clients_send(
        Monitor* m, char tag, const char* data, size_t size) noexcept nogil:
    """Give a chunk of at most CHUNK bytes of stream `tag` to every client."""
    clients_keep(m, tag, data, size, <int>((size + PACKET_DATA - 1) // PACKET_DATA))
    clients_arm(m)


cdef inline void client_end_input(Monitor* m, Client* client) noexcept nogil:
    """Nothing more comes from this client: the container's stdin may end with it."""
    client.input_ended = True
    socket_end_input(client.source.fd)
    if m.record.has_stdin and not m.record.leave_stdin_open:
        stdin_end(m)
    else:
        say(m.record, LEVEL_INFO, b"Not closing input")


cdef inline bint client_read(Monitor* m, Client* client) noexcept nogil:
    """Take a packet, or the end; False if there is neither now."""
    cdef ssize_t n = message_fds(client.source.fd) if client.may_pass else 0
    if n > 0:
        client_lose(m, client, b"Disconnecting an attach client that passes descriptors")
        return False
    if n == 0:
        n = recv(client.source.fd, m.chunk, STDIN_PACKET, MSG_DONTWAIT)
        if n < 0 and errno == ECONNRESET:
            # it went with output unread; what it has sent comes after this one error
            n = recv(client.source.fd, m.chunk, STDIN_PACKET, MSG_DONTWAIT)
    if n < 0 and (errno == EAGAIN or errno == EINTR or errno == ENOMEM):
        return False
    if n > 0:
        buffers_touch(m, n)
        stdin_put(m, m.chunk, n)
    else:
        client_end_input(m, client)
    return True


cdef inline bint has_sent(const Client* client) noexcept nogil:
    """Whether input of the client waits in its socket."""
    cdef int size = 0
    return ioctl(client.source.fd, FIONREAD, &size) == 0 and size > 0


cdef inline void client_leave(Monitor* m, Client* client) noexcept nogil:
    """A client has gone while the container takes no input: its place is free at once."""
    cdef Client** last = &m.leavers
    client_unlink(m, client)
    if has_sent(client) and not m.input.closing:
        if m.leaver_count < LEAVER_LIMIT:
            watch(m, &client.source, 0)  # its hang-up would be reported for ever
            while last[0] != NULL:
                last = &last[0].next
            last[0] = client
            m.leaver_count += 1
            return
        say(
            m.record, LEVEL_WARNING,
            b"Input of an attach client that has left is lost: too many of them wait",
        )
        m.record.counters.clients_dropped += 1
    if m.leavers == NULL:  # else one of them ends the input, after what it has sent
        client_end_input(m, client)
    client_retire(m, client)


cdef inline void leavers_read(Monitor* m) noexcept nogil:
    """Forward what clients had sent before they went, as far as the container takes it."""
    cdef Client* client
    cdef bint more
    while m.leavers != NULL and m.input.pending == NULL:
        client = m.leavers
        more = client_read(m, client)
        if more and not client.input_ended:
            continue
        if not more and client.input_ended:
            client_end_input(m, client)  # it was lost; one behind it may count on that
        m.leavers = client.next
        m.leaver_count -= 1
        client_retire(m, client)


cdef inline void leavers_forget(Monitor* m) noexcept nogil:
    """There is nobody any more to read what they have sent."""
    cdef Client* client
    while m.leavers != NULL:
        client = m.leavers
        m.leavers = client.next
        client_retire(m, client)


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
        if m.input.pending != NULL and not client.input_ended:
            client_leave(m, client)
            return
    elif events & EPOLLOUT:
        client_flush(m, client)
    client_arm(m, client)


cdef inline void on_stdin(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    """The container takes input again, or never will."""
    if stdin_flush(m):
        leavers_read(m)
        clients_arm(m)


cdef inline void on_patience(Monitor* m) noexcept nogil:
    """Under `drop`: disconnect the clients that have taken nothing for too long."""
    cdef Client* client = m.clients
    while client != NULL:
        if client.stalled and client_is_dead(m, client):
            client_lose(m, client, b"Disconnecting an attach client that does not read")
        client = client.next
    clients_arm(m)
    if m.stalled_clients:
        look_later(m)


cdef inline void on_listener(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    accept_client(m)


cdef inline void on_starved(Monitor* m) noexcept nogil:
    """There may be an fd for the client that waits by now."""
    listen_for_clients(m)


cdef inline void accept_waiting(Monitor* m) noexcept nogil:
    """Take the clients that connected before there was a loop."""
    while m.listener.fd >= 0 and m.client_count < CLIENT_LIMIT and accept_client(m):
        pass


cdef inline void accept_last(Monitor* m) noexcept nogil:
    """At the container's end: who has connected by now comes in, and nobody after it."""
    if m.listener.fd < 0:
        return
    shutdown(m.listener.fd, SHUT_RDWR)
    while m.client_count < CLIENTS_AT_END and accept_client(m):
        pass


cdef inline bint may_pass_fds(int fd) noexcept nogil:
    """Whether the kernel lets fds be passed: it is older than 6.16, and knows no SO_PASSRIGHTS."""
    cdef int on = 1
    cdef socklen_t size = sizeof(on)
    return getsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &on, &size) < 0 or on != 0


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
                    m.record, LEVEL_WARNING, b"Cannot accept attach clients", strerror(errno))
            watch(m, source, 0)  # epoll would report it for ever
            timer_set(m, &m.starved, on_starved, ACCEPT_AGAIN)
            m.starved_told = True
        return False
    if m.starved_told:
        m.starved_told = False
        timer_clear(m, &m.starved)
        say(m.record, LEVEL_WARNING, b"Attach clients are accepted again")
    client = <Client*>calloc(1, sizeof(Client))
    if client == NULL:
        socket_close(fd)
        m.record.counters.clients_dropped += 1
        return False
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer))
    source_init(&client.source, fd, on_client)
    client.may_pass = may_pass_fds(fd)
    client.place = backlog_end(m)
    client.next = m.clients  # newest first
    m.clients = client
    m.client_count += 1
    m.record.counters.clients_now = m.client_count
    m.record.counters.clients += 1
    if m.client_count >= CLIENT_LIMIT and not m.record.ended:
        say(m.record, LEVEL_WARNING, b"Too many attach clients: others wait until one leaves")
        watch(m, source, 0)
    client_arm(m, client)
    return True


cdef inline void clients_free_retired(Monitor* m) noexcept nogil:
    cdef Client* client
    while m.retired != NULL:
        client = m.retired
        m.retired = client.next
        free(client)
