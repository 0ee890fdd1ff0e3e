"""fds that somebody passes to us over a socket (SCM_RIGHTS), and that we do not want (C21.9).

To close one may take as long as its sender likes: that of a TCP socket with SO_LINGER waits until
its peer has taken what is unsent, that of a file of FUSE until its server answers. So none of them
ever is in the monitor's table, and none is thrown away by a call of the monitor's: a message is
looked at first, which only counts its fds up and down, and one that has fds is taken, or its socket
closed, by a forked child. The child may wait as long as it must.
"""

from libc.errno cimport ECONNRESET, EINTR, errno
from libc.string cimport memset

from conmon.core.closefds cimport close_all_but
from conmon.core.kernel cimport (
    EPOLLIN, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_PEEK, O_CLOEXEC, _exit, close, fork,
    iovec, msghdr, pid_t, pipe2, poll, pollfd, read, recv, recvmsg, write,
)

cdef extern from "<sys/socket.h>" nogil:
    """
    #define CONMON_CREDENTIALS CMSG_SPACE(3 * sizeof(int)) /* struct ucred, and no fd beside it */
    #define CONMON_CONTROL (CMSG_SPACE(253 * sizeof(int)) + CONMON_CREDENTIALS) /* SCM_MAX_FD */
    """
    enum:
        CREDENTIALS_ROOM "CONMON_CREDENTIALS"
        CONTROL_ROOM "CONMON_CONTROL"

cdef struct Peeked:
    bint came      # there is a message, be it empty (with SO_PASSCRED only)
    bint has_fds


cdef inline ssize_t message_peek(
        int fd, char* data, size_t size, bint credentials, Peeked* peeked) noexcept nogil:
    """recv(2) of the next message, which stays where it is. `credentials`: SO_PASSCRED is on."""
    cdef char control[CREDENTIALS_ROOM]
    cdef iovec part
    cdef msghdr message
    cdef ssize_t n
    memset(&message, 0, sizeof(message))
    part.iov_base = data
    part.iov_len = size
    message.msg_iov = &part
    message.msg_iovlen = 1
    if credentials:  # without room for these MSG_CTRUNC would speak of them
        message.msg_control = control
        message.msg_controllen = sizeof(control)
    n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_PEEK)
    peeked.has_fds = n >= 0 and message.msg_flags & MSG_CTRUNC
    peeked.came = n >= 0 and message.msg_controllen > 0
    return n


cdef inline int message_fds(int fd) noexcept nogil:
    """1 if fds come with the next message, 0 if none do, -1 and errno if there is none now. Without
    SO_PASSCRED."""
    cdef char data[1]
    cdef Peeked peeked
    cdef ssize_t n = message_peek(fd, data, sizeof(data), False, &peeked)
    if n < 0 and errno == ECONNRESET:  # once, before what is queued
        n = message_peek(fd, data, sizeof(data), False, &peeked)
    return -1 if n < 0 else peeked.has_fds


cdef inline void message_drop(int fd) noexcept nogil:
    """Take a message that has no fds off its socket."""
    cdef char data[1]
    recv(fd, data, 0, MSG_DONTWAIT)


cdef inline void take_in_child(int fd, int told) noexcept nogil:
    """In the child: take the message with its fds, tell that it is taken, and close them."""
    cdef char data[1]
    cdef char control[CONTROL_ROOM]
    cdef int keep[2]
    cdef iovec part
    cdef msghdr message
    keep[0] = fd
    keep[1] = told
    close_all_but(keep, 2)  # what there is no number for is closed by the call
    memset(&message, 0, sizeof(message))
    part.iov_base = data
    part.iov_len = sizeof(data)
    message.msg_iov = &part
    message.msg_iovlen = 1
    message.msg_control = control
    message.msg_controllen = sizeof(control)
    if recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) >= 0:
        write(told, b"", 1)
    _exit(0)


cdef inline pid_t message_take(int fd, int wait_ms, bint* taken) noexcept nogil:
    """Have a message that has fds taken off its socket by a child: its pid, or -errno.

    `taken`: it has said so in time. Else it is slow, or stands still, with the message or before
    it: nobody may read until it has ended.
    """
    cdef int gate[2]
    cdef pollfd entry
    cdef char told[1]
    cdef pid_t pid
    taken[0] = False
    if pipe2(gate, O_CLOEXEC) < 0:
        return -errno
    pid = fork()
    if pid == 0:
        take_in_child(fd, gate[1])
    pid = -errno if pid < 0 else pid
    close(gate[1])
    entry.fd = gate[0]
    entry.events = EPOLLIN
    if pid > 0:
        taken[0] = poll(&entry, 1, wait_ms) > 0 and read(gate[0], told, 1) == 1
    close(gate[0])
    return pid


cdef inline int leave_to_child(int fd) noexcept nogil:
    """Have a child keep a socket open until what is returned is closed; -1 if there can be none.

    Who closes a socket last throws away what was not read; who ends does not wait for it.
    """
    cdef int gate[2]
    cdef int keep[2]
    cdef char nothing[1]
    cdef pid_t pid
    if pipe2(gate, O_CLOEXEC) < 0:
        return -1
    pid = fork()
    if pid == 0:
        keep[0] = fd
        keep[1] = gate[0]
        close_all_but(keep, 2)
        while read(gate[0], nothing, 1) < 0 and errno == EINTR:
            pass
        _exit(0)
    close(gate[0])
    if pid < 0:
        close(gate[1])
        return -1
    return gate[1]
