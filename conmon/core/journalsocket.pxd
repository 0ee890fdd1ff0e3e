"""Entries to journald by the journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).

An entry is one datagram of fields: `NAME=value\n`, or `NAME\n`, the size as 64 bits in little
endian, the bytes and `\n` where the value may hold any byte. One that is larger than the socket
takes goes as a sealed memfd by SCM_RIGHTS, with nothing in the datagram itself. A file may hold
several entries with an empty line between any two, and some versions of journald take datagrams of
that kind; systemd 257 and later keep the first entry of one and drop the others in silence.

The socket is connected, so that no path is looked up per entry, and so that EPOLLOUT tells when
the receiver's queue has room again (unix(7) has that for connected datagram sockets only).
Nothing here waits.
"""

from libc.errno cimport (
    EAGAIN, EINTR, EMSGSIZE, ENAMETOOLONG, ENOBUFS, errno,
)
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset, strlen

from conmon.core.kernel cimport (
    AF_UNIX, F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE,
    MFD_ALLOW_SEALING, MFD_CLOEXEC, MSG_NOSIGNAL, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, close,
    connect, fcntl, iovec, memfd_create, mmsghdr, msghdr, sendmmsg, sockaddr, sockaddr_un,
    socket, write,
)
from conmon.core.loop cimport source_close
from conmon.core.state cimport Monitor

cdef extern from "<sys/socket.h>" nogil:
    """
    #include <string.h>
    /* A control message that carries one fd, as cmsg(3) lays it out. */
    union conmon_fd_message {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    };
    static inline ssize_t conmon_send_fd(int to, int fd) {
        union conmon_fd_message control = {0};
        struct msghdr message = {
            .msg_control = &control, .msg_controllen = CMSG_SPACE(sizeof(int))};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
        return sendmsg(to, &message, MSG_NOSIGNAL);
    }
    """
    ssize_t conmon_send_fd(int to, int fd)

cdef enum:
    BATCH = 128                 # entries of one sendmmsg
    PARTS = 4                   # of an entry: header, kept bytes, bytes, constant fields
    HEADER_ROOM = 80            # bytes of the fields that vary

cdef struct Entry:
    const char* kept            # the message's beginning, if it is elsewhere
    size_t kept_size
    const char* data            # the rest of it
    size_t size
    char priority               # c"6" or c"3"
    char prefix                 # the line's own priority, c"0" to c"7"; 0: none
    bint partial

cdef struct Batch:
    Entry entries[BATCH]
    int count
    mmsghdr messages[BATCH]
    iovec parts[BATCH][PARTS]
    char headers[BATCH][HEADER_ROOM]


cdef inline size_t put_entry_header(char* out, const Entry* entry) noexcept nogil:
    """The fields that vary, up to the message's bytes; their size, at most HEADER_ROOM."""
    cdef uint64_t size = entry.kept_size + entry.size
    cdef size_t at = 11
    cdef int i
    memcpy(out, b"PRIORITY=6\n", 11)
    out[9] = entry.priority
    if entry.prefix:
        memcpy(out + at, b"CONTAINER_PRIORITY=0\n", 21)
        out[at + 19] = entry.prefix
        at += 21
    if entry.partial:
        memcpy(out + at, b"CONTAINER_PARTIAL_MESSAGE=true\n", 31)
        at += 31
    # in the form for any bytes: a message has its newline, as C conmon sends it
    memcpy(out + at, b"MESSAGE\n", 8)
    at += 8
    for i in range(8):
        out[at + i] = <char>((size >> (8 * i)) & 0xff)
    return at + 8


cdef inline void entry_frame(Monitor* m, Batch* batch, int index) noexcept nogil:
    """Make the datagram of one entry."""
    cdef const Entry* entry = &batch.entries[index]
    cdef msghdr* message = &batch.messages[index].msg_hdr
    cdef iovec* part = batch.parts[index]
    memset(message, 0, sizeof(msghdr))
    message.msg_iov = part
    part.iov_base = batch.headers[index]
    part.iov_len = put_entry_header(batch.headers[index], entry)
    part += 1
    if entry.kept_size:
        part.iov_base = <void*>entry.kept
        part.iov_len = entry.kept_size
        part += 1
    part.iov_base = <void*>entry.data
    part.iov_len = entry.size
    part += 1
    part.iov_base = <void*>m.journal.fields
    part.iov_len = m.journal.fields_size
    message.msg_iovlen = part + 1 - message.msg_iov


cdef inline int journal_connect(Monitor* m) noexcept nogil:
    """Reach the journal's socket; 0 or errno."""
    cdef sockaddr_un address
    cdef size_t length = strlen(m.journal.path)
    cdef int failure
    cdef int fd
    if m.journal.source.fd >= 0:
        return 0
    if length >= sizeof(address.sun_path):
        return ENAMETOOLONG
    memset(&address, 0, sizeof(address))
    address.sun_family = AF_UNIX
    memcpy(address.sun_path, m.journal.path, length)
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
    if fd < 0:
        return errno
    if connect(fd, <sockaddr*>&address, sizeof(address)) < 0:
        failure = errno
        close(fd)
        return failure
    m.journal.source.fd = fd
    return 0


cdef inline int write_all(int fd, const char* data, size_t size) noexcept nogil:
    """0 or errno."""
    cdef ssize_t n
    while size:
        n = write(fd, data, size)
        if n > 0:
            data += n
            size -= n
        elif n < 0 and errno != EINTR:
            return errno
    return 0


cdef inline int journal_send_memfd(int socket_fd, const msghdr* message) noexcept nogil:
    """Send one large datagram as a file; 0 or errno. journald takes it only with all seals."""
    cdef int failure = 0
    cdef size_t i
    cdef int fd = memfd_create(b"journal-entry", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    if fd < 0:
        return errno
    for i in range(message.msg_iovlen):
        if failure == 0:
            failure = write_all(
                fd, <const char*>message.msg_iov[i].iov_base, message.msg_iov[i].iov_len)
    if failure == 0 and fcntl(
            fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0:
        failure = errno
    if failure == 0 and conmon_send_fd(socket_fd, fd) < 0:
        failure = errno
    close(fd)
    return failure


cdef inline int batch_send(Monitor* m, Batch* batch, int* failure) noexcept nogil:
    """Send the batch's entries in order; how many were sent, and why not all: errno, or 0."""
    cdef int done = 0
    cdef bint again = True
    cdef int i, n
    for i in range(batch.count):
        entry_frame(m, batch, i)
    failure[0] = 0
    while done < batch.count:
        failure[0] = journal_connect(m)
        if failure[0]:
            break
        n = sendmmsg(
            m.journal.source.fd, batch.messages + done, batch.count - done, MSG_NOSIGNAL)
        failure[0] = errno if n < 0 else 0
        if failure[0] == EMSGSIZE or failure[0] == ENOBUFS:
            failure[0] = journal_send_memfd(m.journal.source.fd, &batch.messages[done].msg_hdr)
            n = 1
        if failure[0] == 0:
            done += n
            m.journal.reached = True
            m.journal.hopeless = False
            continue
        if failure[0] == EAGAIN:
            break
        if failure[0] == EINTR:
            continue
        # journald was restarted: its new socket may be there already
        source_close(m, &m.journal.source)
        if not again:
            break
        again = False
    m.record.counters.entries += done
    return done
