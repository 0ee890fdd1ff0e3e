"""The handoff record: only a sealed memfd is believed, and nothing in it leads out of it.

Whoever starts conmon can hand it a record of his own making. He gains nothing by that which he
could not do himself; but the monitor must not run wild.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset, strcmp, strlen

from conmon.core.kernel cimport (
    F_ADD_SEALS, MFD_ALLOW_SEALING, MFD_CLOEXEC, close, environ, fcntl, memfd_create, snprintf,
    write,
)
from conmon.core.record cimport (
    LIFE_LAUNCH, RECORD_VERSION, Record, life_take, record_load, record_magic, record_seals,
    record_text,
)
from fuzz.feed cimport Feed, feed_begin, feed_number, hold

cdef enum:
    ROOM = 16 << 10  # bytes of the largest record here

cdef struct Case:
    char memory[ROOM]
    size_t size
    int seals
    bint told_size   # the record says how large it is, truly
    bint magic

cdef unsigned long touched = 0


cdef void read_text(const Record* record, uint32_t offset) noexcept nogil:
    """Read a text to its end, as whoever uses it would."""
    global touched
    cdef const char* text = record_text(record, offset)
    if text != NULL:
        touched += strlen(text)


cdef void read_all(const Record* record) noexcept nogil:
    """Read everything that the record names."""
    global touched
    cdef const char* argument = record_text(record, record.exit_argv)
    cdef const char* fields = record_text(record, record.journal_fields)
    cdef const uint32_t* offset = &record.cid  # the first of the texts
    cdef size_t i
    read_text(record, record.counter_names)
    while offset <= &record.exit_argv:
        read_text(record, offset[0])
        offset += 1
    if argument != NULL:
        while argument[0]:
            touched += argument[0]
            argument += strlen(argument) + 1
    if fields != NULL:
        for i in range(record.journal_fields_size):
            touched += fields[i]


cdef void case_begin(Case* case, Feed* feed) noexcept nogil:
    """Make a record of the input: its bytes, with what no mutation would guess put right."""
    cdef Record* record = <Record*>case.memory
    cdef int how = feed_number(feed)
    case.size = min(max(sizeof(Record), feed.size), <size_t>ROOM)
    memset(case.memory, 0, case.size)
    memcpy(case.memory, feed.data, min(feed.size, case.size))
    case.seals = record_seals()
    if how & 1:
        case.seals &= feed_number(feed)
    case.magic = not how & 2
    if case.magic:
        record.magic = record_magic()
        record.version = RECORD_VERSION
    case.told_size = not how & 4
    if case.told_size:
        record.size = <uint32_t>case.size


cdef int case_file(const Case* case) noexcept nogil:
    """A memfd of the record, with its seals."""
    cdef int fd = memfd_create(b"record", MFD_CLOEXEC | MFD_ALLOW_SEALING)
    hold(fd >= 0 and write(fd, case.memory, case.size) == <ssize_t>case.size, b"a memfd")
    fcntl(fd, F_ADD_SEALS, case.seals)
    return fd


cdef void check_load(const Case* case) noexcept nogil:
    cdef int fd = case_file(case)
    cdef Record* record = record_load(fd)
    if record == NULL:
        hold(close(fd) == 0, b"what is not believed is left open")
        return
    hold(close(fd) < 0, b"what is believed is closed")
    hold(case.seals == record_seals(), b"only with all seals")
    hold(record.magic == record_magic() and record.version == RECORD_VERSION, b"only ours")
    hold(record.size <= case.size and record.size >= sizeof(Record), b"only as large as it is")
    hold(memcmp(record, case.memory, record.size) == 0, b"a copy")
    read_all(record)
    free(record)


cdef void check_life(const Case* case, const char* text, size_t size) noexcept nogil:
    """The variable names a life and an fd, and is gone afterwards."""
    cdef char variable[256]
    cdef char* entries[4]
    cdef char** kept = environ
    cdef Record* record
    cdef int fd = case_file(case)
    cdef int life
    memset(variable, 0, sizeof(variable))
    memcpy(variable, b"_CONMON_LIFE=", 13)
    memcpy(variable + 13, text, min(size, <size_t>200))
    if strlen(variable) < 200:
        snprintf(variable + strlen(variable), 24, b"%d", fd)
    entries[0] = b"A=1"
    entries[1] = variable
    entries[2] = b"B=2"
    entries[3] = NULL
    (&environ)[0] = entries
    life = life_take(&record)
    (&environ)[0] = kept
    hold(strcmp(entries[0], b"A=1") == 0 and strcmp(entries[1], b"B=2") == 0
         and entries[2] == NULL, b"the variable is taken out, and nothing else")
    hold((life == LIFE_LAUNCH) == (record == NULL), b"another life only with a record")
    if record == NULL:
        close(fd)
    free(record)


cdef public int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) noexcept nogil:
    cdef Feed feed = feed_begin(data, size)
    cdef Case case
    case_begin(&case, &feed)
    check_load(&case)
    check_life(&case, feed.data, feed.size)
    return 0
