"""The monitor life's state: one struct, passed down; there are no globals.

Every fd that is waited for is a `Source` with one handler. A handler returns nothing and
raises nothing: what goes wrong is dealt with where it happens, reported and counted.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from conmon.core.kernel cimport pid_t, time_t
from conmon.core.record cimport Leave, Record

cdef extern from *:  # sizes of buffers.pxd, in bytes
    """
    #define CONMON_CHUNK (64 << 10)
    #define CONMON_LOG_BUFFER (400 << 10)
    #define CONMON_STDIN_PACKET 32768
    #define CONMON_JOURNAL_ROOM (64 << 10)
    """
    enum:
        CHUNK "CONMON_CHUNK"                # one read; larger falls out of the cache (measured)
        LOG_BUFFER "CONMON_LOG_BUFFER"      # four chunks of 100-byte lines with their headers fit
        STDIN_PACKET "CONMON_STDIN_PACKET"  # one packet from an attach client
        JOURNAL_ROOM "CONMON_JOURNAL_ROOM"  # unfinished lines and one batch of entries

cdef enum:
    HEADER = 45               # bytes before a record's data
    TAG_AT = HEADER - 2       # the byte among them that is F or P
    RECORD_DATA = 8192        # bytes of data in one record, newline included: what C conmon
                              # reads at once; log shippers refuse lines of more than 16-32 KiB
    LINE_LIMIT = 200          # bytes of one control line, newline included
    PACKET_DATA = 8192        # container bytes in one attach packet
    CLIENT_LIMIT = 128        # attach clients at one time
    CLIENTS_AT_END = CLIENT_LIMIT + 16  # ... with those that wait when the container ends
    LEAVER_LIMIT = 128        # clients that have gone and whose input waits
    QUEUE_LIMIT = 1 << 20     # bytes waiting for one attach client before a policy applies
    QUEUE_RESUME = 512 << 10  # a stalled client has caught up when this much is left

ctypedef void (*Handler)(Monitor* m, Source* source, uint32_t events) noexcept nogil
ctypedef void (*Tick)(Monitor* m) noexcept nogil

cdef struct Source:
    int fd                    # -1: closed
    uint32_t events           # waited for; 0: it rests
    Handler handle
    Source* next              # the armed ones are a list: loop.pxd
    Source* previous

cdef struct Timer:            # timer.pxd
    int64_t at                # ms of the clock of now_ms
    Tick handle
    Timer* next               # of those that are set

cdef struct Queue:            # queue.pxd
    char* data
    size_t capacity
    size_t head               # offset of the first byte that waits
    size_t tail               # offset behind the last one

cdef struct Stream:
    Source source             # must be first: a handler gets the Source and casts
    char tag                  # 2 stdout, 3 stderr: the attach protocol's stream byte
    bint terminal             # a pty's master
    bint full                 # a read of this burst filled the chunk
    bint wide                 # the pipe was enlarged to WIDE_PIPE: streams.pxd
    bint unspliceable         # a filter of system calls knows no splice
    bint hung_up              # a terminal that nobody in the container has open just now

cdef struct Log:
    int fd                    # -1: no k8s-file
    int dir                   # where `name` is looked up: AT_FDCWD, or a directory held open
    const char* name          # the log's path, or its name in `dir`
    int64_t limit             # bytes after which the log is full
    int rotation_failure      # errno while no new log can be made, else 0
    char* buffer              # LOG_BUFFER bytes
    size_t used
    time_t second             # of the clock reading in `header`
    char header[HEADER + 3]
    int failure               # errno while writing fails, else 0
    uint64_t lost             # bytes of container output dropped since it began to fail
    Source source             # a log that is waited for: logwait.pxd; else fd -1
    bint stalled              # it takes no more now: streams are not read
    Queue queue               # what the log has not taken, records after each other
    size_t begun              # bytes in the log of a record whose rest the queue begins with
    char begun_tag            # that record's F or P
    size_t marker_left        # bytes that wait up to the end of a marker; 0: there is none
    uint64_t marked           # how much that marker says is missing

cdef struct Client:
    Source source             # must be first
    Client* next
    bint may_pass             # fds, with what it sends: passed.pxd
    bint input_ended          # nothing more comes from the client
    bint output_ended         # nothing more can be sent to it
    uint64_t place            # in the backlog: what is before it, this client has taken
    int took                  # packets of the chunk that is being sent
    bint stalled              # too much waits for it: streams wait
    int unread                # of a stalled one: patience.pxd
    int looks
    int64_t progress_at       # ms

cdef struct Backlog:          # backlog.pxd
    Queue queue               # packets that wait: two bytes of size, then the packet
    uint64_t first            # place of the first one in all that ever waited, in bytes

cdef struct Lines:
    Source source             # must be first
    char buffer[LINE_LIMIT]
    size_t used
    bint skipping             # inside a line that was too long

cdef struct Stdin:
    Source source             # must be first; fd -1 once closed
    char* buffer              # STDIN_PACKET bytes
    char* pending             # in the buffer: what the pipe would not take yet; NULL: nothing
    size_t size
    size_t done
    bint closing              # close as soon as nothing is pending

cdef struct Oom:
    Source source             # inotify or eventfd
    Timer timer               # set between a v1 notification and the count that it announces
    long delay                # ms until it fires
    int counter_fd            # memory.events or memory.oom_control; -1: none
    int64_t seen              # kills that were reported, or came before the container

cdef struct Notify:
    Source source
    Timer timer               # set while something is kept
    char* kept                # messages that the host's socket did not take, each with its size,
                              # two bytes, before it
    size_t size               # bytes in `kept`
    long delay                # ms until the timer fires; 0: it is not set
    bint stuck                # a child is at a message, and has not taken it yet
    bint unread               # messages may be left in the socket, with fds

cdef struct JournalLine:
    char* kept                # the beginning of a line that is not finished
    size_t size
    bint inside               # a piece of this line was sent already
    char prefix               # the line's own priority, c"0" to c"7"; 0: none

cdef struct Journal:
    Source source             # connected datagram socket; fd -1 while not connected
    Timer timer               # set while AWAY
    const char* path          # of the journal's socket; NULL: no journald log
    const char* fields        # the constant fields of every entry, framed
    size_t fields_size
    char* area                # memory for unfinished lines
    void* batch               # memory for a batch of entries: Batch, journalsocket.pxd
    JournalLine lines[2]      # stdout, stderr
    int state                 # journalstate.pxd
    bint stalled              # entries wait: streams are not read
    bint reached              # the journal has taken an entry
    bint hopeless             # it was given up, and has taken none since
    int failure               # errno of the last refusal
    int64_t since             # ms; when it was first or last tried in this state
    uint64_t lost             # bytes of container output dropped since the last marker
    uint64_t lost_entries
    uint64_t marked           # lost bytes that the marker at the queue's head reports
    uint64_t marked_entries   # lost entries that it reports; 0: there is no such marker
    int window                # entries of the queue that are offered at once
    Queue queue               # entries that wait

cdef struct Monitor:
    Record* record
    Leave leave               # gives back what the launch life has left in memory; NULL: done
    int epoll                 # -1: poll(2) waits
    Source* armed
    Timer* timers
    char* chunk               # CHUNK bytes
    size_t touched            # bytes of chunk and log buffer used since they were given back
    bint running
    int stalled               # what streams wait for: clients, log and journal that take no more
    int stalled_clients
    pid_t holder              # child that has fds which a container passed; 0: none
    int client_count
    int leaver_count
    Timer starved             # set while a client waits that there is no fd for
    bint starved_told
    bint by_clock             # no pidfd could be had for a container that is not our child
    Timer clock               # set while by_clock
    uint64_t container_start  # of such a container: stranger.pxd; 0: not known
    Client* clients
    Client* leavers           # in the order in which they went
    Backlog backlog
    Client* retired           # closed in this round of events; freed after it
    Stream out
    Stream err
    Stream* coalesced         # left alone until the timer fires; NULL: coalesce.pxd
    Timer coalescing
    const Stream* read_last   # the stream that was read last
    int64_t read_at           # us; the time of that read
    int64_t filled_in         # us; in which a part of its pipe fills (coalesce.pxd)
    int steady                # reads of that stream in a row, each soon after the one before
    Stdin input
    Log log
    Lines ctl
    Lines winsz
    Source signals
    Source listener
    Timer timeout
    Timer leaving             # until `leave` is called
    Timer patience            # set while a client is stalled, under `drop`
    Source pidfd
    Oom oom
    Notify notify
    Journal journal
