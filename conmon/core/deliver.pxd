"""After the container's end nothing waits for a client (C20.1).

What clients are still due goes to a forked child, which lives until they have read it or have
gone. conmon itself goes on to the exit files at once.
"""

from libc.errno cimport errno
from libc.string cimport strerror

from conmon.core.attach cimport client_close, clients_arm, leavers_forget
from conmon.core.backlog cimport client_due, client_lose
from conmon.core.closefds cimport close_all_but
from conmon.core.diag cimport LEVEL_WARNING, say_errno
from conmon.core.ending cimport restore_signals
from conmon.core.farewell cimport socket_end_input
from conmon.core.kernel cimport (
    EPOLL_CLOEXEC, SIG_IGN, SIGPIPE, _exit, c_signal, epoll_create1, fork, pid_t,
)
from conmon.core.loop cimport dispatch, source_init
from conmon.core.queue cimport queue_free
from conmon.core.state cimport CLIENTS_AT_END, Client, Monitor


cdef inline void clients_release(Monitor* m) noexcept nogil:
    """Close the clients that are due nothing; only the others stay.

    Nobody reads what they send any more: with input unread the rest of their output would be
    lost, whoever closes their sockets at last.
    """
    cdef Client* client = m.clients
    cdef Client* next
    while client != NULL:
        next = client.next
        if not client_due(m, client):
            client_close(m, client)
        else:
            client.input_ended = True
            if socket_end_input(client.source.fd):
                client_lose(m, client, b"Disconnecting an attach client that passes descriptors")
                client_close(m, client)
        client = next
    leavers_forget(m)


cdef inline int clients_fds(Monitor* m, int* fds) noexcept nogil:
    """The fds of the clients, at most CLIENTS_AT_END; how many."""
    cdef Client* client = m.clients
    cdef int count = 0
    while client != NULL and count < CLIENTS_AT_END:
        fds[count] = client.source.fd
        count += 1
        client = client.next
    return count


cdef inline void deliver(Monitor* m) noexcept nogil:
    """In the child: serve the clients that are due something, and nothing else."""
    cdef int keep[CLIENTS_AT_END]
    cdef Client* client = m.clients
    close_all_but(keep, clients_fds(m, keep))
    restore_signals()
    c_signal(SIGPIPE, SIG_IGN)
    if m.leave != NULL:
        m.leave()
    m.epoll = epoll_create1(EPOLL_CLOEXEC)
    source_init(&m.listener, -1, NULL)
    m.input.pending = NULL
    while client != NULL:
        client.source.events = 0
        client = client.next
    clients_arm(m)
    while m.clients != NULL and dispatch(m, -1) >= 0:
        clients_release(m)
    _exit(0)


cdef inline void clients_deliver(Monitor* m) noexcept nogil:
    """Fork the child, if there is a client left. Only fds that it may hold are open by then."""
    cdef pid_t pid
    if m.clients == NULL:
        return
    pid = fork()
    if pid == 0:
        deliver(m)
    if pid < 0:
        say_errno(
            m.record, LEVEL_WARNING, b"Attach clients lose the rest of the output",
            strerror(errno))
    clients_forget(m)


cdef inline void clients_forget(Monitor* m) noexcept nogil:
    """Give back the memory of what waits: the child has it, and we may live on for long."""
    queue_free(&m.backlog.queue)
