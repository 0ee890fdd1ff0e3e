"""main() of the conmon ELF: picks the life and, for the Python lives, has an interpreter ready.

Only the C API is used here, on raw pointers: this code runs before there is an interpreter.
"""

from libc.stdlib cimport getenv
from libc.string cimport strcmp, strlen

from conmon.core.kernel cimport (
    O_RDWR, PR_SET_NAME, SIGABRT, SIGBUS, SIGPROF, SIGSEGV, SIGXFSZ, SIG_IGN, _exit, c_signal,
    close, open, prctl, write,
)
from conmon.core.ending cimport limit_cpu_time
from conmon.core.record cimport (
    LIFE_FINISH, LIFE_LAUNCH, LIFE_LINGER, LIFE_MONITOR, LIFE_NONE, Next, Record, life_take,
)
from conmon.interpreter cimport start_interpreter


cdef extern from "version.h" nogil:
    const char* CONMON_VERSION_TEXT

# Of _image.pyx and _fastio.pyx: tests/build/test_prototypes.py compares.
cdef extern void conmon_image_begin() noexcept nogil
cdef extern int conmon_image_write(int fd) noexcept nogil
cdef extern bint conmon_image_room() noexcept nogil
cdef extern bint conmon_image_ready() noexcept nogil
cdef extern bint conmon_image_open() noexcept nogil
cdef extern void conmon_image_resume() noexcept nogil
cdef extern void conmon_image_pause() noexcept nogil
cdef extern void conmon_image_leave() noexcept nogil

cdef extern int conmon_monitor(Record* record, char** argv, Next* next) noexcept nogil
cdef extern int conmon_linger(Record* record) noexcept nogil
cdef extern int conmon_python_life(
    int life, Record* record, int argc, char** argv, Next* next) noexcept nogil
cdef extern int conmon_conclude(Record* record) noexcept nogil


cdef inline int say_version() noexcept nogil:
    write(1, CONMON_VERSION_TEXT, strlen(CONMON_VERSION_TEXT))
    return 0


cdef inline int python_life(
        int life, bint ready, Record* record, int argc, char** argv, Next* next) noexcept nogil:
    """The launch or the finish life, in the image's interpreter if that is ready, or in one that
    starts now."""
    cdef int status
    if life == LIFE_FINISH:
        # before all else: what is written to below may be closed with the interpreter
        if ready and not conmon_image_open():
            return conmon_conclude(record)
        save_exit_code_on_death(record)
    if ready:
        conmon_image_resume()
        status = conmon_python_life(life, record, argc, argv, next)
        if next.life != LIFE_NONE:
            conmon_image_pause()
        if next.life == LIFE_MONITOR:
            next.leave = conmon_image_leave
        elif next.life != LIFE_NONE:
            conmon_image_leave()
        return status
    if start_interpreter(b"conmon._fastio"):
        return conmon_python_life(life, record, argc, argv, NULL)
    return conmon_conclude(record) if life == LIFE_FINISH else 1


cdef inline int make_image() noexcept nogil:
    """For tools/image.py: the image goes to stdout."""
    conmon_image_begin()
    return conmon_image_write(1) if start_interpreter(b"conmon.rehearsal") else 1


cdef enum:
    FINISH_CPU_TIME = 1  # seconds; a finish life takes some milliseconds

# What a finish life that dies has to save.
cdef Record* at_stake = NULL


cdef void on_death(int number) noexcept nogil:
    """The interpreter aborted, found no end, or has a page that cannot be read from the disk.

    The first two are seen when there is no memory for it.
    """
    global at_stake
    cdef Record* record = at_stake
    at_stake = NULL
    _exit(conmon_conclude(record) if record != NULL else 1)


cdef inline void save_exit_code_on_death(Record* record) noexcept nogil:
    global at_stake
    at_stake = record
    c_signal(SIGABRT, on_death)
    c_signal(SIGBUS, on_death)
    c_signal(SIGSEGV, on_death)
    c_signal(SIGPROF, on_death)
    limit_cpu_time(FINISH_CPU_TIME)


cdef inline void fill_stdio() noexcept nogil:
    """Let no file that is opened later become fd 0, 1 or 2, where the caller closed these."""
    cdef int fd = open(b"/dev/null", O_RDWR)
    while 0 <= fd <= 2:
        fd = open(b"/dev/null", O_RDWR)
    close(fd)


cdef inline int live(int life, Record* record, int argc, char** argv) noexcept nogil:
    """One life after the other, if need be; conmon's exit status.

    With an image a life goes over into the next within the process. Otherwise it does so by exec.
    """
    cdef Next next
    cdef int status = 0
    cdef bint ready = conmon_image_ready()
    next.life = life
    next.record = record
    next.leave = NULL
    while next.life != LIFE_NONE:
        life = next.life
        next.life = LIFE_NONE
        if life == LIFE_MONITOR:
            status = conmon_monitor(next.record, argv, &next if ready else NULL)
        elif life == LIFE_LINGER:
            status = conmon_linger(next.record)
        else:
            status = python_life(life, ready, next.record, argc, argv, &next)
    return status


cdef public int main(int argc, char** argv) noexcept nogil:
    cdef Record* record
    cdef int life
    c_signal(SIGXFSZ, SIG_IGN)  # a write beyond the caller's limit is to fail, and be told
    if argc == 2 and strcmp(argv[1], b"--version") == 0:
        return say_version()
    if getenv(b"_CONMON_MAKE_IMAGE") != NULL and conmon_image_room():
        return make_image()
    life = life_take(&record)
    if life == LIFE_LAUNCH:
        fill_stdio()
    else:
        prctl(PR_SET_NAME, b"conmon")
    # the process ends here: taking an interpreter down would only cost time
    _exit(live(life, record, argc, argv))
