"""The interpreter's image: CPython brought up when conmon is built, and only mapped when it runs.

An ordinary start with all modules imported takes 13.7 million instructions, and callers wait for
it. tools/image.ld puts every writable byte of libpython and of the modules compiled in into one
section of the ELF, with a heap beside them. tools/image.py runs the linked ELF once, to start the
interpreter there, import everything and hand out what the section then holds; that becomes the
section's content in the file. A process that starts from such a file has an interpreter that is
already up. Its pages are the file's, until they are written to. Functions and constants are where
they were, because the ELF is not position-independent.

What must not be in an image, and is not:
- memory of libc: every malloc is served from the section's heap while the image is made (by the
  linker's --wrap); libc's own state is outside of the section, as fresh as in any process;
- thread-local variables, where CPython 3.12 and later keep the current thread state: the image is
  made with the thread detached, and it is attached again when conmon starts;
- locks, thread ids, keys of thread-specific storage: they are made anew as after a fork;
- the environment, argv, fds, the time, paths: the Python lives ask for them when they run.

Blocks of the image are never given back, and the collector is off: it would write to each object
and so copy each page.
"""

from libc.string cimport memcpy, memset

from conmon.core.kernel cimport write


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

cdef extern from *:
    """
    #ifdef CONMON_IMAGE
    extern char conmon_image_start[], conmon_image_end[]; /* tools/image.ld */
    static char conmon_image_heap[CONMON_IMAGE] __attribute__((section("conmon_heap")));
    #else
    #define conmon_image_start ((char *)0)
    #define conmon_image_end ((char *)0)
    #define conmon_image_heap ((char *)0)
    #define CONMON_IMAGE 0
    #define __real_malloc malloc
    #define __real_calloc calloc
    #define __real_realloc realloc
    #define __real_free free
    #endif
    """
    char* conmon_image_start
    char* conmon_image_end
    char* conmon_image_heap
    const size_t HEAP_SIZE "CONMON_IMAGE"

cdef extern from * nogil:
    """
    #include <stdlib.h>
    #ifdef CONMON_IMAGE
    extern void *__real_malloc(size_t), *__real_calloc(size_t, size_t);
    extern void *__real_realloc(void *, size_t);
    extern void __real_free(void *);
    #endif
    """
    void* real_malloc "__real_malloc"(size_t size)
    void* real_calloc "__real_calloc"(size_t count, size_t size)
    void* real_realloc "__real_realloc"(void* block, size_t size)
    void real_free "__real_free"(void* block)


# --- the heap -------------------------------------------------------------------------------

cdef enum:
    UNIT = 16  # bytes; what a block's size is a multiple of, and its header takes
    CLASSES = 65  # blocks up to 64 units are used again; larger ones are few

cdef bint making = False
cdef size_t heap_used = 0
cdef void* heap_free[CLASSES]


cdef inline bint in_image(const void* block) noexcept nogil:
    return conmon_image_start <= <const char*>block < conmon_image_end


cdef inline size_t* heap_size(void* block) noexcept nogil:
    """Where the size of a block of the heap stands."""
    return <size_t*>(<char*>block - UNIT)


cdef inline void* heap_take(size_t size) noexcept nogil:
    """A block of zeros; NULL once the heap is full."""
    global heap_used
    cdef size_t units = (size + UNIT - 1) // UNIT + (size == 0)
    cdef char* block
    if units < CLASSES and heap_free[units] != NULL:
        block = <char*>heap_free[units]
        heap_free[units] = (<void**>block)[0]
        (<void**>block)[0] = NULL
        return block
    if size > HEAP_SIZE or heap_used + (units + 1) * UNIT > HEAP_SIZE:
        return NULL
    block = conmon_image_heap + heap_used + UNIT
    heap_used += (units + 1) * UNIT
    heap_size(block)[0] = units * UNIT
    return block


cdef inline void heap_give(void* block) noexcept nogil:
    cdef size_t units = heap_size(block)[0] // UNIT
    memset(block, 0, units * UNIT)
    if units < CLASSES:
        (<void**>block)[0] = heap_free[units]
        heap_free[units] = block


cdef public void* __wrap_malloc(size_t size) noexcept nogil:
    return heap_take(size) if making else real_malloc(size)


cdef public void* __wrap_calloc(size_t count, size_t size) noexcept nogil:
    if not making:
        return real_calloc(count, size)
    return NULL if size and count > HEAP_SIZE // size else heap_take(count * size)


cdef public void* __wrap_realloc(void* block, size_t size) noexcept nogil:
    cdef void* new
    if block == NULL:
        return __wrap_malloc(size)
    if not in_image(block):
        return real_realloc(block, size)
    if size <= heap_size(block)[0]:
        return block
    new = __wrap_malloc(size)
    if new != NULL:
        memcpy(new, block, heap_size(block)[0])
        __wrap_free(block)
    return new


cdef public void __wrap_free(void* block) noexcept nogil:
    if not in_image(block):
        real_free(block)
    elif making:
        heap_give(block)


cdef inline void* arena_take(void* context, size_t size) noexcept nogil:
    """Where the evaluator's stack comes from, by default from mmap."""
    return __wrap_malloc(size)


cdef inline void arena_give(void* context, void* block, size_t size) noexcept nogil:
    __wrap_free(block)


# --- making and using it --------------------------------------------------------------------

cdef PyThreadState* image_thread = NULL


cdef public void conmon_image_begin() noexcept nogil:
    """From here on all memory is the image's. Before the interpreter is started."""
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


cdef public int conmon_image_missing() noexcept nogil:
    """Whether there is room for an image, but none in it."""
    return HEAP_SIZE > 0 and image_thread == NULL


cdef public int conmon_image_resume() noexcept nogil:
    """Go on with the image's interpreter; False if this ELF has none."""
    if image_thread == NULL:
        return False
    PyEval_RestoreThread(image_thread)
    PyOS_BeforeFork()
    PyOS_AfterFork_Child()
    return True
