"""The monitor's memory, which is there before the container runs: nobody can refuse it then.

Zero pages of the program until they are used, and again after they were given back. They lie
outside of the interpreter's image (tools/image.ld), which a Python life throws away when it ends:
by its name (.sbss) the compiler knows that the section takes no room in the file, and image.ld
leaves it alone.
"""

from conmon.core.kernel cimport MADV_DONTNEED, madvise
from conmon.core.state cimport JOURNAL_ROOM, Monitor

cdef extern from *:
    """
    /* Bytes of the largest page that a kernel may have. No more: where the linker leaves out a
       page before them they get a segment of their own, and valgrind then knows no symbols. */
    #if defined(__x86_64__)
    #define CONMON_PAGE 4096
    #else
    #define CONMON_PAGE 65536
    #endif
    static struct {
        char chunk[CONMON_CHUNK];
        char log[CONMON_LOG_BUFFER];
        char input[CONMON_STDIN_PACKET] __attribute__((aligned(CONMON_PAGE)));
        char journal[CONMON_JOURNAL_ROOM] __attribute__((aligned(CONMON_PAGE)));
    } conmon_buffers __attribute__((section(".sbss.conmon"), aligned(CONMON_PAGE)));
    """
    char* buffer_chunk "conmon_buffers.chunk"
    char* buffer_log "conmon_buffers.log"
    char* buffer_input "conmon_buffers.input"
    char* buffer_journal "conmon_buffers.journal"


cdef inline void buffers_touch(Monitor* m, size_t size) noexcept nogil:
    """Note that `size` bytes of a buffer are in use: an idle monitor gives them back then."""
    m.touched = max(m.touched, size)


cdef inline void buffers_give_back(bint input_too) noexcept nogil:
    """Give the pages back to the kernel, those of the container's input only if nothing waits.

    They go to the end of the last page: what must stay begins another one.
    """
    cdef char* end = buffer_journal if input_too else buffer_input
    madvise(buffer_chunk, end - buffer_chunk, MADV_DONTNEED)


cdef inline void journal_room_give_back(size_t start) noexcept nogil:
    """The same for the journal's, from byte `start` on."""
    madvise(buffer_journal + start, JOURNAL_ROOM - start, MADV_DONTNEED)
