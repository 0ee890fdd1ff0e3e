"""After the container's end nothing waits for a client (C20 row 1).

What clients are still due goes to a forked child, which lives until they have read it or have
gone. conmon itself goes on to the exit files at once.
"""

from libc.errno cimport errno
from libc.string cimport strerror

from conmon.core.attach cimport client_arm
from conmon.core.closefds cimport close_all_but
from conmon.core.diag cimport LEVEL_WARNING, say_errno
from conmon.core.ending cimport restore_signals
from conmon.core.kernel cimport (
    EPOLL_CLOEXEC, SIG_IGN, SIGPIPE, _exit, c_signal, epoll_create1, fork, pid_t,
)
from conmon.core.loop cimport dispatch, source_close, source_init
from conmon.core.queue cimport queue_size
from conmon.core.state cimport CLIENT_LIMIT, Client, Monitor


cdef inline bint any_client_waits(Monitor* m) noexcept nogil:
    cdef Client* client = m.clients
    while client != NULL:
        if queue_size(&client.queue):
            return True
        client = client.next
    return False


cdef inline bint clients_are_due(Monitor* m) noexcept nogil:
    """Let go of the clients that have got everything; whether any are left."""
    cdef Client* client = m.clients
    cdef bint due = False
    while client != NULL:
        if client.source.fd >= 0 and queue_size(&client.queue):
            due = True
        else:
            source_close(m, &client.source)
        client = client.next
    return due


cdef inline void deliver(Monitor* m) noexcept nogil:
    """In the child: serve the clients that are due something, and nothing else."""
    cdef int keep[CLIENT_LIMIT]
    cdef int kept = 0
    cdef Client* client = m.clients
    while client != NULL and kept < CLIENT_LIMIT:
        if queue_size(&client.queue):
            keep[kept] = client.source.fd
            kept += 1
        else:
            client.source.fd = -1
        client.source.events = 0
        client = client.next
    close_all_but(keep, kept)
    restore_signals()
    c_signal(SIGPIPE, SIG_IGN)
    m.epoll = epoll_create1(EPOLL_CLOEXEC)
    source_init(&m.listener, -1, NULL)
    m.input.pending = NULL
    client = m.clients
    while client != NULL:
        client.input_ended = True
        if client.source.fd >= 0:
            client_arm(m, client)
        client = client.next
    while clients_are_due(m) and dispatch(m, -1) >= 0:
        pass
    _exit(0)


cdef inline void clients_deliver(Monitor* m) noexcept nogil:
    cdef pid_t pid
    if not any_client_waits(m):
        return
    pid = fork()
    if pid == 0:
        deliver(m)
    if pid < 0:
        say_errno(
            m.record, LEVEL_WARNING, b"Attach clients do not get the rest of the output",
            strerror(errno))
