"""A filter of system calls (seccomp(2)), made when it is needed from the table in syscalls.pxd.

First come the calls whose arguments are looked at, then a search by halves among the ranges of the
others: some ten steps for any call. Where none of a call's arguments is looked at the kernel keeps
the answer (Linux 5.11), and the filter is not run for it again.
"""

from libc.errno cimport E2BIG, ENOSYS, EPERM, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from conmon.core.kernel cimport SYS_seccomp, syscall


cdef extern from *:
    """
    #include <linux/audit.h>
    #include <linux/filter.h>
    #include <linux/seccomp.h>
    #include <stddef.h>
    #ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
    #define SECCOMP_FILTER_FLAG_SPEC_ALLOW 4 /* since Linux 4.17 */
    #endif
    #if defined(__SANITIZE_ADDRESS__)
    #define CONMON_ARCH 0 /* its run-time makes calls of its own, and maps where it likes */
    #elif defined(__x86_64__) && defined(__LP64__)
    #define CONMON_ARCH AUDIT_ARCH_X86_64
    #elif defined(__aarch64__) && defined(__LP64__)
    #define CONMON_ARCH AUDIT_ARCH_AARCH64
    #else
    #define CONMON_ARCH 0
    #endif
    """
    uint32_t CONMON_ARCH  # 0: no filter is made for this processor
    struct sock_filter:
        uint16_t code
        uint8_t jt
        uint8_t jf
        uint32_t k
    struct sock_fprog:
        unsigned short len
        sock_filter* filter
    enum: SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW
    uint32_t SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
    uint32_t NUMBER_AT "offsetof(struct seccomp_data, nr)"
    uint32_t ARCH_AT "offsetof(struct seccomp_data, arch)"
    uint32_t ARGUMENTS_AT "offsetof(struct seccomp_data, args)"

cdef enum:
    LOAD = 0x20           # BPF_LD | BPF_W | BPF_ABS
    IS = 0x15             # BPF_JMP | BPF_JEQ | BPF_K
    AT_LEAST = 0x35       # BPF_JMP | BPF_JGE | BPF_K
    HAS = 0x45            # BPF_JMP | BPF_JSET | BPF_K
    RETURN = 0x06         # BPF_RET | BPF_K
    STEPS = 640
    NUMBERS = 512         # calls have lower numbers; those of x32 begin at 1 << 30
    NEW_NUMBERS = 424     # from Linux 5.1 on, the same for all processors
    UNKNOWN = 255         # in a jump: where to is not known yet

cdef struct Filter:
    sock_filter steps[STEPS]
    int size
    int call              # the step that begins the call whose arguments are looked at
    int form              # the step that begins this form of it
    uint8_t allowed[NUMBERS + 1]
    int ranges
    int starts[NUMBERS + 1]  # of ranges with one answer


cdef inline void filter_step(
        Filter* filter, int code, uint32_t k, int jt, int jf) noexcept nogil:
    if filter.size < STEPS:
        filter.steps[filter.size].code = code
        filter.steps[filter.size].k = k
        filter.steps[filter.size].jt = jt
        filter.steps[filter.size].jf = jf
    filter.size += 1


cdef inline void filter_allow(Filter* filter, int number) noexcept nogil:
    """Allow a call whatever its arguments are."""
    filter.allowed[number] = True


# --- a call some of whose arguments are right: forms, one of which has to hold in all ----------

cdef inline void filter_call(Filter* filter, int number) noexcept nogil:
    """Begin a call, and its first form. The number has been loaded."""
    filter.call = filter.size
    filter_step(filter, IS, number, 0, UNKNOWN)
    filter.form = filter.size


cdef inline void filter_is(Filter* filter, int argument, uint32_t value) noexcept nogil:
    """Argument 0..5 is this int."""
    filter_step(filter, LOAD, ARGUMENTS_AT + 8 * argument, 0, 0)
    filter_step(filter, IS, value, 0, UNKNOWN)


cdef inline void filter_is_wide(Filter* filter, int argument, uint64_t value) noexcept nogil:
    """Argument 0..5 is this pointer or size. Both processors have the low half first."""
    filter_is(filter, argument, <uint32_t>value)
    filter_step(filter, LOAD, ARGUMENTS_AT + 8 * argument + 4, 0, 0)
    filter_step(filter, IS, <uint32_t>(value >> 32), 0, UNKNOWN)


cdef inline void filter_is_high(Filter* filter, int argument) noexcept nogil:
    """Argument 0..5 is an address from 4 GiB on: the program, which is not position-independent, is
    below."""
    filter_step(filter, LOAD, ARGUMENTS_AT + 8 * argument + 4, 0, 0)
    filter_step(filter, IS, 0, UNKNOWN, 0)


cdef inline void filter_within(Filter* filter, int argument, uint32_t bits) noexcept nogil:
    """Argument 0..5, an int, has none but these bits."""
    filter_step(filter, LOAD, ARGUMENTS_AT + 8 * argument, 0, 0)
    filter_step(filter, HAS, ~bits, UNKNOWN, 0)


cdef inline void filter_any(Filter* filter) noexcept nogil:
    """This form is whole: who does not have it is asked for the next one."""
    cdef int i
    filter_step(filter, RETURN, SECCOMP_RET_ALLOW, 0, 0)
    for i in range(filter.form, min(filter.size, <int>STEPS)):
        if filter.steps[i].jt == UNKNOWN:
            filter.steps[i].jt = <uint8_t>(filter.size - i - 1)
        if filter.steps[i].jf == UNKNOWN:
            filter.steps[i].jf = <uint8_t>(filter.size - i - 1)
    filter.form = filter.size


cdef inline void filter_call_end(Filter* filter) noexcept nogil:
    """No other form is right; other calls go on behind."""
    filter_any(filter)
    filter_step(filter, RETURN, SECCOMP_RET_ERRNO | EPERM, 0, 0)
    if filter.call < STEPS:
        filter.steps[filter.call].jf = <uint8_t>(filter.size - filter.call - 1)


# --- all others -------------------------------------------------------------------------------

cdef inline uint32_t filter_answer(const Filter* filter, int number) noexcept nogil:
    if filter.allowed[number]:
        return SECCOMP_RET_ALLOW
    return SECCOMP_RET_ERRNO | <uint32_t>(ENOSYS if number >= NEW_NUMBERS else EPERM)


cdef inline void filter_ranges(Filter* filter) noexcept nogil:
    cdef int number
    filter.starts[0] = 0
    filter.ranges = 1
    for number in range(1, NUMBERS + 1):
        if filter.allowed[number] != filter.allowed[number - 1] or number == NEW_NUMBERS:
            filter.starts[filter.ranges] = number
            filter.ranges += 1


cdef inline void filter_halves(Filter* filter, int first, int last) noexcept nogil:
    """Find a number among these ranges, both included."""
    cdef int middle = (first + last + 1) // 2
    cdef int at = filter.size
    if first == last:
        filter_step(filter, RETURN, filter_answer(filter, filter.starts[first]), 0, 0)
        return
    filter_step(filter, AT_LEAST, filter.starts[middle], 0, 0)
    filter_halves(filter, first, middle - 1)
    if at < STEPS:
        filter.steps[at].jt = <uint8_t>(filter.size - at - 1)
    filter_halves(filter, middle, last)


cdef inline void filter_begin(Filter* filter) noexcept nogil:
    """Other kinds of system calls than this processor's own, i386's among them, have none."""
    filter.size = 0
    memset(filter.allowed, 0, sizeof(filter.allowed))
    filter_step(filter, LOAD, ARCH_AT, 0, 0)
    filter_step(filter, IS, CONMON_ARCH, 1, 0)
    filter_step(filter, RETURN, SECCOMP_RET_ERRNO | EPERM, 0, 0)
    filter_step(filter, LOAD, NUMBER_AT, 0, 0)


cdef inline int filter_install(Filter* filter) noexcept nogil:
    """Have all system calls of this process, and of its children, go through it; 0 or -errno.

    SPEC_ALLOW: the kernel is not to slow the process down as one that runs code of strangers.
    """
    cdef sock_fprog program
    filter_ranges(filter)
    filter_halves(filter, 0, filter.ranges - 1)
    if filter.size > STEPS:
        return -E2BIG
    program.len = <unsigned short>filter.size
    program.filter = filter.steps
    if syscall(
            SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program) < 0:
        return -errno
    return 0
