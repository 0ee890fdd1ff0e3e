"""The interpreter's image: CPython brought up when conmon is built, and only mapped when it runs.

An ordinary start with all modules imported takes 13.7 million instructions, and callers wait for
it. tools/image.ld puts every writable byte of libpython and of the modules compiled in into one
section of the ELF, with a heap beside them. tools/image.py runs the linked ELF once, to start the
interpreter there, import everything and hand out what the section then holds; that becomes the
section's content in the file. A process that starts from such a file has an interpreter that is
already up. Its pages are the file's, until they are written to. Functions and constants are where
they were, because the ELF is not position-independent.

What must not be in an image, and is not:
- memory of libc: libpython's malloc is the heap below (tools/libpython.py renames what it calls),
  and libc's own state is outside of the section, as fresh as in any process;
- thread-local variables, where CPython 3.12 and later keep the current thread state: the image is
  made with the thread detached, and it is attached again when conmon starts;
- locks, thread ids, keys of thread-specific storage: they are made anew as after a fork;
- the environment, argv, fds, the time, paths: the Python lives ask for them when they run.

The collector is off: it would write to each object and so copy each page.

The section also lets a process leave a Python life: once its pages are thrown away, the section is
what the file says, and no memory of the interpreter is left. The next life needs no exec, whose
price is mostly libc's: its start asks the CPU for what it can do, and in a virtual machine every
such question goes to the hypervisor (0.3 of the 0.33 ms of a program that does nothing).

Until then the interpreter is closed: its data and code can be neither read nor written nor run.
Who has a fault of the monitor to work with finds there no code to jump to, and can prepare nothing
for the finish life.
"""

from libc.stdint cimport uintptr_t
from libc.stdio cimport FILE, fputs, stderr
from libc.string cimport memcpy, memset, strcmp, strlen

from conmon.core.kernel cimport (
    MADV_DONTNEED, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_EXEC, PROT_NONE, PROT_READ,
    PROT_WRITE, madvise, mmap, mprotect, munmap, write,
)


cdef extern from "Python.h" nogil:
    ctypedef struct PyThreadState:
        pass
    ctypedef struct PyObjectArenaAllocator:
        void* ctx
        void* (*alloc)(void* context, size_t size) noexcept nogil
        void (*free)(void* context, void* block, size_t size) noexcept nogil
    void PyObject_SetArenaAllocator(PyObjectArenaAllocator* allocator)
    int PyGC_Disable()
    PyThreadState* PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState* thread)
    void PyOS_BeforeFork()
    void PyOS_AfterFork_Child()

cdef extern from "<link.h>" nogil:
    ctypedef struct Header "ElfW(Ehdr)":
        size_t e_phoff
        int e_phnum
    ctypedef struct Segment "ElfW(Phdr)":
        int p_type
        int p_flags
        size_t p_vaddr
        size_t p_memsz
    enum: PF_W, PT_LOAD

cdef extern from "<sys/auxv.h>" nogil:
    enum: AT_PAGESZ
    unsigned long getauxval(unsigned long kind)

cdef extern from *:
    """
    #include <link.h>
    #include <stdlib.h>
    #ifdef CONMON_IMAGE
    extern char conmon_image_start[], conmon_image_end[]; /* tools/image.ld */
    extern char conmon_python_start[], conmon_python_end[];
    extern const ElfW(Ehdr) __ehdr_start;                 /* ld itself */
    static char conmon_image_heap[CONMON_IMAGE] __attribute__((section("conmon_heap")));
    #else
    #define conmon_image_start ((char *)0)
    #define conmon_image_end ((char *)0)
    #define conmon_python_start ((char *)0)
    #define conmon_python_end ((char *)0)
    #define conmon_image_heap ((char *)0)
    static const ElfW(Ehdr) __ehdr_start;
    #define CONMON_IMAGE 0
    #endif
    """
    char* conmon_image_start
    char* conmon_image_end
    char* conmon_python_start
    char* conmon_python_end
    char* conmon_image_heap
    const size_t HEAP_SIZE "CONMON_IMAGE"
    const Header elf_header "__ehdr_start"
    void libc_free "free"(void* block) nogil
    void* libc_realloc "realloc"(void* block, size_t size) nogil


# --- the heap -------------------------------------------------------------------------------
#
# A block of N units stands behind one unit with its size. What is given back is used again for
# blocks of the same class. What the heap has no room for gets pages of its own.

cdef enum:
    UNIT = 16         # bytes
    EXACT = 64        # blocks up to so many units have a class for each size
    CLASSES = EXACT + 8  # above, a class for each power of two
    LARGEST = EXACT << 7  # units of the last class
    PAGE = 4096       # the smallest that a kernel has; arm64's may have 65,536
    MAPPED_HEAD = 2 * UNIT
    STACK = 1 << 20   # bytes; the Python lives use less

cdef struct Mapped:
    Mapped* next
    size_t length     # of the mapping
    size_t size       # of the block, where a block of the heap has it too
    size_t unused

cdef bint making = False
cdef size_t heap_used = 0
cdef void* heap_free[CLASSES]
cdef Mapped* all_mapped = NULL


cdef inline bint in_heap(const void* block) noexcept nogil:
    return conmon_image_heap <= <const char*>block < conmon_image_end


cdef inline size_t* block_size(void* block) noexcept nogil:
    """Where the size of a block stands, in bytes."""
    return <size_t*>(<char*>block - UNIT)


cdef inline int class_of(size_t units) noexcept nogil:
    cdef int number = EXACT
    if units <= EXACT:
        return <int>units - 1
    while units > <size_t>EXACT << (number - EXACT):
        number += 1
    return number - 1


cdef inline size_t class_units(int number) noexcept nogil:
    """How many units a block of this class has."""
    return number + 1 if number < EXACT else <size_t>EXACT << (number + 1 - EXACT)


cdef inline void* map_block(size_t size) noexcept nogil:
    global all_mapped
    cdef size_t length = (size + MAPPED_HEAD + PAGE - 1) & ~<size_t>(PAGE - 1)
    cdef Mapped* head
    if making:
        say_full()
    if making or length < size:
        return NULL
    head = <Mapped*>mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if <void*>head == MAP_FAILED:
        return NULL
    head.next = all_mapped
    head.length = length
    head.size = length - MAPPED_HEAD
    all_mapped = head
    return <char*>head + MAPPED_HEAD


cdef inline void say_full() noexcept nogil:
    """Tell who builds conmon; what Python makes of it tells nobody anything."""
    cdef const char* text = b"[conmon:e]: The image's heap is full (meson.build: image_heap)\n"
    write(2, text, strlen(text))


cdef inline Mapped** mapped_link(void* block) noexcept nogil:
    """The pointer to a block that has pages of its own, NULL if this is none."""
    cdef Mapped** link = &all_mapped
    if (<uintptr_t>block & (PAGE - 1)) != MAPPED_HEAD:
        return NULL
    while link[0] != NULL:
        if <char*>link[0] + MAPPED_HEAD == <char*>block:
            return link
        link = &link[0].next
    return NULL


cdef inline void* heap_take(size_t size) noexcept nogil:
    global heap_used
    cdef size_t units = (size + UNIT - 1) // UNIT + (size == 0)
    cdef int number
    cdef char* block
    if units > LARGEST or size > units * UNIT:
        return map_block(size)
    number = class_of(units)
    block = <char*>heap_free[number]
    if block != NULL:
        heap_free[number] = (<void**>block)[0]
        (<void**>block)[0] = NULL
        return block
    units = class_units(number)
    if heap_used + (units + 1) * UNIT > HEAP_SIZE:
        return map_block(size)
    block = conmon_image_heap + heap_used + UNIT
    heap_used += (units + 1) * UNIT
    block_size(block)[0] = units * UNIT
    return block


cdef inline void heap_give(void* block) noexcept nogil:
    cdef int number = class_of(block_size(block)[0] // UNIT)
    if making:  # what is not part of the image must not be found in it
        memset(block, 0, block_size(block)[0])
    (<void**>block)[0] = heap_free[number]
    heap_free[number] = block


cdef public void* conmon_python_malloc(size_t size) noexcept nogil:
    return heap_take(size)


cdef public void* conmon_python_calloc(size_t count, size_t size) noexcept nogil:
    cdef void* block
    if size and count > ~<size_t>0 // size:
        return NULL
    block = heap_take(count * size)
    if block != NULL:
        memset(block, 0, count * size)
    return block


cdef public void* conmon_python_realloc(void* block, size_t size) noexcept nogil:
    cdef void* new
    if block == NULL:
        return heap_take(size)
    if not in_heap(block) and mapped_link(block) == NULL:
        return libc_realloc(block, size)
    if size <= block_size(block)[0]:
        return block
    new = heap_take(size)
    if new != NULL:
        memcpy(new, block, block_size(block)[0])
        conmon_python_free(block)
    return new


cdef public void conmon_python_free(void* block) noexcept nogil:
    """Of a block of ours, or one that libc made for libpython."""
    cdef Mapped** link
    cdef Mapped* head
    if in_heap(block):
        heap_give(block)
        return
    link = mapped_link(block)
    if link == NULL:
        libc_free(block)
        return
    head = link[0]
    link[0] = head.next
    munmap(head, head.length)


cdef public int conmon_python_fputs(const char* text, FILE* stream) noexcept nogil:
    """mimalloc, a part of CPython from 3.13 on, says what it has to say before main() begins: in
    the run that makes the image nothing, and from then on the end of that line."""
    return 0 if stream == stderr and strcmp(text, b"\n") == 0 else fputs(text, stream)


cdef inline void* arena_take(void* context, size_t size) noexcept nogil:
    """Where the evaluator's stack comes from, by default from mmap."""
    return heap_take(size)


cdef inline void arena_give(void* context, void* block, size_t size) noexcept nogil:
    conmon_python_free(block)


# --- making and using it --------------------------------------------------------------------

cdef PyThreadState* image_thread = NULL


cdef public void conmon_image_begin() noexcept nogil:
    """From here on what is allocated is the image's. Before the interpreter is started."""
    global making
    cdef PyObjectArenaAllocator arenas
    making = True
    arenas.ctx = NULL
    arenas.alloc = arena_take
    arenas.free = arena_give
    PyObject_SetArenaAllocator(&arenas)


cdef public int conmon_image_write(int fd) noexcept nogil:
    """Write the section, with the interpreter that is up, to `fd`; 0 if all of it was written."""
    global making, image_thread
    cdef char* at = conmon_image_start
    cdef ssize_t n
    PyGC_Disable()
    image_thread = PyEval_SaveThread()
    making = False
    while at < conmon_image_end:
        n = write(fd, at, conmon_image_end - at)
        if n <= 0:
            return 1
        at += n
    return 0


cdef public bint conmon_image_room() noexcept nogil:
    """Whether there is room for an image, but none in it."""
    return HEAP_SIZE > 0 and image_thread == NULL


cdef public bint conmon_image_ready() noexcept nogil:
    """Whether there is an image."""
    return image_thread != NULL


cdef inline bint interpreter_allow(int data, int code) noexcept nogil:
    """Say what may be done with the interpreter's memory. False: that failed, in part perhaps."""
    return mprotect(
        conmon_image_start, conmon_image_end - conmon_image_start, data) == 0 and mprotect(
        conmon_python_start, conmon_python_end - conmon_python_start, code) == 0


cdef public bint conmon_image_open() noexcept nogil:
    """Open the interpreter that was left; no harm if it was not. False: it cannot be used."""
    return interpreter_allow(PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC)


cdef public void conmon_image_resume() noexcept nogil:
    """Go on with the image's interpreter."""
    PyEval_RestoreThread(image_thread)
    PyOS_BeforeFork()
    PyOS_AfterFork_Child()


cdef public void conmon_image_pause() noexcept nogil:
    """Let go of the interpreter, as it is now; it can be resumed."""
    PyEval_SaveThread()


cdef public void conmon_image_leave() noexcept nogil:
    """Throw away all that the interpreter, paused, did to its memory, and close it.

    What is opened and resumed then is the image's again.
    """
    global all_mapped
    cdef Mapped* head
    while all_mapped != NULL:
        head = all_mapped
        all_mapped = head.next
        munmap(head, head.length)
    madvise(conmon_image_start, conmon_image_end - conmon_image_start, MADV_DONTNEED)
    drop_code()
    drop_stack()
    interpreter_allow(PROT_NONE, PROT_NONE)


cdef inline uintptr_t page_size() noexcept nogil:
    """Bytes of this kernel's pages: madvise(2) refuses an address that does not begin one."""
    return getauxval(AT_PAGESZ)


cdef inline void drop_code() noexcept nogil:
    """Let go of the interpreter's code and constants: they count as resident while mapped."""
    cdef const Segment* segment = <const Segment*>(<char*>&elf_header + elf_header.e_phoff)
    cdef int i
    cdef size_t begin
    for i in range(elf_header.e_phnum):
        if segment[i].p_type == PT_LOAD and not segment[i].p_flags & PF_W:
            begin = segment[i].p_vaddr & ~(page_size() - 1)
            madvise(<void*>begin, segment[i].p_vaddr + segment[i].p_memsz - begin, MADV_DONTNEED)


cdef inline void drop_stack() noexcept nogil:
    """Give back the stack below us; 1,024 bytes are left for ourselves and for the call."""
    cdef char here
    cdef uintptr_t top = (<uintptr_t>&here - 1024) & ~(page_size() - 1)
    madvise(<void*>(top - STACK), STACK, MADV_DONTNEED)
