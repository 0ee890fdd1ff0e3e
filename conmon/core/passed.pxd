"""fds that somebody passes to us over a socket (SCM_RIGHTS), and that we do not want (C21.9).

To close one may take as long as its sender likes: that of a TCP socket with SO_LINGER waits until
its peer has taken what is unsent. So a forked child has them, too, until we have closed ours; what
is closed last is closed in the child, which waits as long as it must.

What the kernel throws away because there was no room for it is closed in our context. So there is
room for as many as one message can carry.
"""

from libc.errno cimport EINTR, errno
from libc.string cimport memset

from conmon.core.closefds cimport close_all_but
from conmon.core.kernel cimport (
    MSG_CMSG_CLOEXEC, MSG_DONTWAIT, O_CLOEXEC, SOL_SOCKET, _exit, close, fork, iovec, msghdr, pid_t,
    pipe2, read, recvmsg,
)

cdef extern from "<sys/socket.h>" nogil:
    """
    #define CONMON_FDS 253 /* SCM_MAX_FD of <net/scm.h> */
    #define CONMON_CONTROL \\
        (CMSG_SPACE(CONMON_FDS * sizeof(int)) + CMSG_SPACE(3 * sizeof(int))) /* and a ucred */
    """
    enum:
        PASSED_MOST "CONMON_FDS"
        CONTROL_ROOM "CONMON_CONTROL"
        SCM_RIGHTS
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    cmsghdr* CMSG_FIRSTHDR(msghdr* message)
    cmsghdr* CMSG_NXTHDR(msghdr* message, cmsghdr* header)
    unsigned char* CMSG_DATA(cmsghdr* header)
    size_t CMSG_LEN(size_t length)

cdef struct Passed:
    int fds[PASSED_MOST + 1]   # and one for the gate
    int count
    bint came                  # there was a message, be it empty (with SO_PASSCRED only)


cdef inline ssize_t receive_passed(
        int fd, char* data, size_t size, Passed* passed) noexcept nogil:
    """recv(2), with the fds that came along; they are the caller's to hand over."""
    cdef char control[CONTROL_ROOM]
    cdef iovec part
    cdef msghdr message
    cdef cmsghdr* header
    cdef ssize_t n
    cdef size_t i
    memset(&message, 0, sizeof(message))
    part.iov_base = data
    part.iov_len = size
    message.msg_iov = &part
    message.msg_iovlen = 1
    message.msg_control = control
    message.msg_controllen = sizeof(control)
    passed.count = 0
    passed.came = False
    n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
    header = CMSG_FIRSTHDR(&message) if n >= 0 else NULL
    while header != NULL:
        passed.came = True
        if header.cmsg_level == SOL_SOCKET and header.cmsg_type == SCM_RIGHTS:
            for i in range((header.cmsg_len - CMSG_LEN(0)) // sizeof(int)):
                passed.fds[passed.count] = (<int*>CMSG_DATA(header))[i]
                passed.count += 1
        header = CMSG_NXTHDR(&message, header)
    return n


cdef inline void hold_passed(Passed* passed, int gate) noexcept nogil:
    """In the child: hold nothing but the fds, and end when ours are closed."""
    cdef char nothing[1]
    passed.fds[passed.count] = gate
    close_all_but(passed.fds, passed.count + 1)
    while read(gate, nothing, 1) < 0 and errno == EINTR:
        pass
    _exit(0)


cdef inline pid_t passed_hand_over(Passed* passed) noexcept nogil:
    """Close the fds without waiting; the pid of the child that may have to wait, or -errno.

    Without a child they are closed here, which may block the monitor: only a container that passes
    fds while no process can be made for its user gets that, and it delays its own monitor.
    """
    cdef int gate[2]
    cdef pid_t pid = -1
    cdef int failure = 0
    cdef int i
    if pipe2(gate, O_CLOEXEC) == 0:
        pid = fork()
        failure = errno
        if pid == 0:
            close(gate[1])
            hold_passed(passed, gate[0])
        close(gate[0])
    else:
        failure = errno
        gate[1] = -1
    for i in range(passed.count):
        close(passed.fds[i])
    if gate[1] >= 0:
        close(gate[1])
    return pid if pid > 0 else -failure
