"""An attach client's packets: the container's stdin gets just them, the client just its output.

Real sockets and a real pipe, in any order of sending, reading, half-closing and output. Bytes
count up, so that one that is missing, doubled or torn off is seen.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from conmon.core.attach cimport clients_free_retired
from conmon.core.kernel cimport (
    AF_UNIX, EPOLL_CLOEXEC, MSG_DONTWAIT, MSG_NOSIGNAL, O_CLOEXEC, O_NONBLOCK, SOCK_CLOEXEC,
    SOCK_NONBLOCK, SOCK_SEQPACKET, bind, close, connect, epoll_create1, getpid,
    listen, read, recv, send, shutdown, snprintf, sockaddr, sockaddr_un, socket,
)
from conmon.core.loop cimport dispatch, source_close
from conmon.core.monitor cimport monitor_arm, monitor_open, monitor_wind_down
from conmon.core.record cimport Record
from conmon.core.state cimport PACKET_DATA, STDIN_PACKET, Monitor
from conmon.core.streams cimport forward
from fuzz.feed cimport Feed, feed_begin, feed_number, hold

cdef extern from "<unistd.h>" nogil:
    int pipe2(int* ends, int flags)
cdef extern from "<sys/socket.h>" nogil:
    enum: SHUT_WR

cdef enum:
    STEPS = 64     # of one run
    QUIET = 5      # rounds of the loop in which nothing moves: all is where it belongs

cdef struct Bytes:   # that count up on their way from one end to the other
    unsigned long put
    unsigned long got

cdef struct Scene:
    Monitor monitor
    Record record
    int client       # the client's end; -1: gone
    int stdin_end    # the container's end
    bint half_closed
    bint stdin_ended
    Bytes input
    Bytes output

cdef Scene scene
cdef sockaddr_un address
cdef int listener = -1
cdef char room[STDIN_PACKET]


cdef void bytes_make(Bytes* way, size_t size) noexcept nogil:
    """Put the next bytes of the way into `room`."""
    cdef size_t i
    for i in range(size):
        room[i] = <char>((way.put + i) % 251)


cdef void bytes_take(Bytes* way, const char* data, ssize_t size) noexcept nogil:
    cdef ssize_t i
    for i in range(size):
        hold(<uint8_t>data[i] == (way.got + i) % 251, b"bytes come in order")
    way.got += size
    hold(way.got <= way.put, b"no more comes than was sent")


cdef size_t size_of(int number) noexcept nogil:
    """A size from 1 to 32768 bytes."""
    return number + 1 if number < 128 else <size_t>(number - 127) << 8


cdef void client_packet(size_t size) noexcept nogil:
    if scene.half_closed:
        return
    bytes_make(&scene.input, size)
    if send(scene.client, room, size, MSG_DONTWAIT | MSG_NOSIGNAL) == <ssize_t>size:
        scene.input.put += size


cdef void client_take(int packets) noexcept nogil:
    cdef ssize_t n
    while packets:
        n = recv(scene.client, room, sizeof(room), MSG_DONTWAIT)
        if n <= 0:
            return
        hold(n > 1 and n <= PACKET_DATA + 1, b"a packet's size")
        hold(room[0] == 2, b"a packet's stream")
        bytes_take(&scene.output, room + 1, n - 1)
        packets -= 1


cdef void client_leave() noexcept nogil:
    """With output unread, too: what it has sent arrives nevertheless."""
    if scene.client >= 0:
        close(scene.client)
    scene.client = -1


cdef void container_take(size_t size) noexcept nogil:
    cdef ssize_t n = read(scene.stdin_end, room, min(size, sizeof(room)))
    if n > 0:
        bytes_take(&scene.input, room, n)
    elif n == 0:
        scene.stdin_ended = True


cdef void container_write(size_t size) noexcept nogil:
    """The container's output, which conmon does not read while a client must catch up."""
    if scene.monitor.stalled:
        return
    bytes_make(&scene.output, size)
    scene.output.put += size
    forward(&scene.monitor, 2, room, size)


cdef void loop_round() noexcept nogil:
    dispatch(&scene.monitor, 0)
    clients_free_retired(&scene.monitor)


cdef void scene_open(int how) noexcept nogil:
    cdef int ends[2]
    memset(&scene, 0, sizeof(scene))
    # no fds but these
    memset(&scene.record, 0xff, <char*>&scene.record.held_stdout_size - <char*>&scene.record)
    scene.record.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
    scene.record.log_level = -1
    scene.record.has_stdin = how & 1
    scene.record.leave_stdin_open = how >> 1 & 1
    scene.record.attach_fd = listener
    hold(pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0, b"a pipe")
    scene.stdin_end = ends[0]
    scene.record.stdin_fd = ends[1]
    scene.client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)
    hold(connect(scene.client, <sockaddr*>&address, sizeof(address)) == 0, b"a client")
    monitor_open(&scene.monitor, &scene.record)
    monitor_arm(&scene.monitor)
    loop_round()
    hold(scene.monitor.client_count == 1, b"the client is let in")


cdef void scene_step(int what, int number) noexcept nogil:
    if what % 8 < 3:
        client_packet(size_of(number))
    elif what % 8 == 3:
        container_take(size_of(number))
    elif what % 8 == 4:
        client_take(number)
    elif what % 8 == 5:
        container_write(size_of(number))
    elif what % 8 == 6 and number > 200:
        shutdown(scene.client, SHUT_WR)
        scene.half_closed = True
    elif what % 8 == 7 and number > 230:
        client_leave()
    if what & 8:
        loop_round()


cdef void scene_settle() noexcept nogil:
    """Everybody reads until nothing more comes."""
    cdef int quiet = 0
    cdef unsigned long before
    while quiet < QUIET:
        before = scene.input.got + scene.output.got
        loop_round()
        client_take(1000)
        container_take(sizeof(room))
        quiet = quiet + 1 if scene.input.got + scene.output.got == before else 0
    hold(scene.input.got == scene.input.put, b"all input arrives")
    if scene.client < 0:
        return
    hold(scene.output.got == scene.output.put, b"all output arrives")
    if scene.half_closed and scene.record.has_stdin and not scene.record.leave_stdin_open:
        hold(scene.stdin_ended, b"the end of the input ends stdin")
    else:
        hold(not scene.stdin_ended, b"nothing else ends stdin")


cdef void scene_close() noexcept nogil:
    client_leave()
    loop_round()
    loop_round()
    hold(scene.monitor.client_count == 0 and scene.monitor.clients == NULL, b"who goes is gone")
    source_close(&scene.monitor, &scene.monitor.input.source)
    monitor_wind_down(&scene.monitor)
    close(scene.stdin_end)


cdef public int LLVMFuzzerInitialize(int* argc, char*** argv) noexcept nogil:
    global listener
    memset(&address, 0, sizeof(address))
    address.sun_family = AF_UNIX
    snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, b"conmon-fuzz-%d", getpid())
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)
    hold(bind(listener, <sockaddr*>&address, sizeof(address)) == 0, b"a socket's name")
    return listen(listener, 8)


cdef public int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) noexcept nogil:
    cdef Feed feed = feed_begin(data, size)
    cdef int steps = 0
    cdef int what
    scene_open(feed_number(&feed))
    while feed.size and steps < STEPS:
        what = feed_number(&feed)
        scene_step(what, feed_number(&feed))
        steps += 1
    scene_settle()
    scene_close()
    return 0
