"""Closing a socket so that its peer still gets all that was sent to it (C21.1).

A unix socket that is closed with received data unread gives its peer ECONNRESET. A peer with a
SOCK_SEQPACKET socket gets it before it has read what is queued for it, a peer with a SOCK_STREAM
socket instead of the end of file. A listening socket that is closed does the same to clients that
it has not accepted. So the socket is shut for new data first, then what has arrived is read, and
only then is it closed.
"""

from libc.errno cimport ECONNRESET, EINTR, errno

from conmon.core.kernel cimport (
    SHUT_RD, SHUT_RDWR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, SO_PASSCRED, accept4, close,
    setsockopt, shutdown,
)
from conmon.core.passed cimport Peeked, leave_to_child, message_drop, message_peek

cdef enum:
    UNREAD_LIMIT = 1 << 16   # messages; a socket's buffer holds some hundred
    WAITING_LIMIT = 1 << 12  # connections; a listener of ours has a backlog of about ten


cdef enum Unread:
    NOTHING_UNREAD, MESSAGE_READ, FDS_UNREAD


cdef inline Unread socket_discard(int fd) noexcept nogil:
    """Throw the next message away, unless fds come with it.

    With SO_PASSCRED a message carries its sender's credentials: an empty packet differs from the
    end of file by that alone.
    """
    cdef char data[1]
    cdef Peeked peeked
    if message_peek(fd, data, sizeof(data), True, &peeked) < 0:
        # the latter once, before what is queued
        return MESSAGE_READ if errno == EINTR or errno == ECONNRESET else NOTHING_UNREAD
    if peeked.has_fds:
        return FDS_UNREAD
    if not peeked.came:
        return NOTHING_UNREAD
    message_drop(fd)
    return MESSAGE_READ


cdef inline bint socket_end_input(int fd) noexcept nogil:
    """Let the peer send nothing more (EPIPE), and throw away what it has sent.

    True if fds stay there (passed.pxd): the socket may not be closed here then.
    """
    cdef int yes = 1
    cdef int _i
    cdef Unread unread = MESSAGE_READ
    shutdown(fd, SHUT_RD)
    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes))
    for _i in range(UNREAD_LIMIT):
        unread = socket_discard(fd)
        if unread != MESSAGE_READ:
            break
    return unread == FDS_UNREAD


cdef inline int socket_part(int fd) noexcept nogil:
    """The same before the socket is closed: what is to be closed after it, or -1.

    Without a process to be had the close may take as long as who passed the fds likes: only
    somebody who passes fds while no process can be made for its user gets that.
    """
    return leave_to_child(fd) if socket_end_input(fd) else -1


cdef inline void socket_close(int fd) noexcept nogil:
    """Close a socket for good."""
    cdef int gate = socket_part(fd)
    close(fd)
    if gate >= 0:
        close(gate)


cdef inline void listener_close(int fd) noexcept nogil:
    """Let nobody new connect (ECONNREFUSED); who waits gets a clean end of file."""
    cdef int client
    cdef int _i
    if fd < 0:
        return
    shutdown(fd, SHUT_RDWR)
    for _i in range(WAITING_LIMIT):
        client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if client < 0:
            break
        socket_close(client)
    close(fd)
