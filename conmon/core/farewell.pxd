"""Closing a socket so that its peer still gets all that was sent to it (C21.1).

A unix socket that is closed with received data unread gives its peer ECONNRESET. A peer with a
SOCK_SEQPACKET socket gets it before it has read what is queued for it, a peer with a SOCK_STREAM
socket instead of the end of file. A listening socket that is closed does the same to clients that
it has not accepted. So the socket is shut for new data first, then what has arrived is read, and
only then is it closed.
"""

from libc.errno cimport ECONNRESET, EINTR, errno
from libc.string cimport memset

from conmon.core.kernel cimport (
    MSG_CTRUNC, MSG_DONTWAIT, MSG_TRUNC, SHUT_RD, SHUT_RDWR, SOCK_CLOEXEC, SOCK_NONBLOCK,
    SOL_SOCKET, SO_PASSCRED, accept4, close, iovec, msghdr, recvmsg, setsockopt, shutdown,
)

cdef enum:
    UNREAD_LIMIT = 1 << 16   # messages; a socket's buffer holds some hundred
    WAITING_LIMIT = 1 << 12  # connections; a listener of ours has a backlog of about ten


cdef inline bint socket_discard(int fd) noexcept nogil:
    """Throw the next message away; False if there is none.

    With SO_PASSCRED a message carries its sender's credentials, and that there is no room for
    them is told by MSG_CTRUNC: an empty packet differs from the end of file by that alone.
    """
    cdef char data[4096]
    cdef iovec part
    cdef msghdr message
    cdef ssize_t n
    memset(&message, 0, sizeof(message))
    part.iov_base = data
    part.iov_len = sizeof(data)
    message.msg_iov = &part
    message.msg_iovlen = 1
    n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_TRUNC)
    if n < 0:
        return errno == EINTR or errno == ECONNRESET  # the latter once, before what is queued
    return n > 0 or message.msg_flags & MSG_CTRUNC


cdef inline void socket_end_input(int fd) noexcept nogil:
    """Let the peer send nothing more (EPIPE), and throw away what it has sent."""
    cdef int yes = 1
    cdef int _i
    shutdown(fd, SHUT_RD)
    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof(yes))
    for _i in range(UNREAD_LIMIT):
        if not socket_discard(fd):
            break


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
        socket_end_input(client)
        close(client)
    close(fd)
