"""What the monitor life gives up before it reads anything that others choose (docs/security.md).

Where an exit command is due it keeps what that may need: the command would inherit no_new_privs,
the filter of system calls and the directories.
"""

from libc.errno cimport ENOSYS, errno
from libc.stdint cimport uint64_t
from libc.string cimport strerror

from conmon.core.buffers cimport buffer_chunk, buffers_touch
from conmon.core.capabilities cimport capabilities_drop
from conmon.core.diag cimport LEVEL_DEBUG, LEVEL_ERROR, say, say_errno
from conmon.core.kernel cimport (
    PR_SET_NO_NEW_PRIVS, _exit, fork, pid_t, prctl, vfork, waitpid,
)
from conmon.core.landlock cimport landlock_enter
from conmon.core.record cimport Record
from conmon.core.seccomp cimport CONMON_ARCH, Filter, filter_begin, filter_install
from conmon.core.state cimport Monitor
from conmon.core.syscalls cimport checked_calls, plain_calls

# As SANDBOX in conmon/cli.py.
cdef enum:
    SANDBOX_OFF = 0       # 1, auto: what the kernel refuses is done without
    SANDBOX_STRICT = 2    # what it refuses is found before the container runs

# Numbers of the bits of the counter `sandbox`: docs/counters.md.
cdef enum:
    NO_NEW_PRIVS = 0
    CAPABILITIES = 1
    LANDLOCK = 2
    SECCOMP = 3
    PARTS = 4

cdef enum:
    ALL_OF_IT = (1 << PARTS) - 1
    PR_GET_SECCOMP = 21
    FILTERED = 2          # SECCOMP_MODE_FILTER

cdef struct Sandbox:
    uint64_t on
    uint64_t refused
    int reasons[PARTS]    # by number, of what was refused: -errno


cdef inline void sandbox_note(Sandbox* sandbox, int number, int result) noexcept nogil:
    """Note what became of the step that bit `number` stands for: 0 done, or -errno."""
    if result == 0:
        sandbox.on |= 1 << number
    else:
        sandbox.refused |= 1 << number
        sandbox.reasons[number] = result


cdef inline int filter_calls(const Record* record, Filter* filter) noexcept nogil:
    if CONMON_ARCH == 0:
        return -ENOSYS
    filter_begin(filter)
    checked_calls(filter, record)
    plain_calls(filter)
    return filter_install(filter)


cdef inline void sandbox_enter(
        Record* record, bint stranger, Filter* filter, Sandbox* sandbox) noexcept nogil:
    """Give up what can be given up. `stranger`: the container is not our child.

    How such a one has ended is told to those who may trace it: they are not in a domain of
    Landlock of their own, and have a capability.
    """
    cdef bint for_good = not record.exit_argv
    cdef int failure
    sandbox.on = sandbox.refused = 0
    if for_good:
        failure = -errno if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 else 0
        sandbox_note(sandbox, NO_NEW_PRIVS, failure)
    sandbox_note(sandbox, CAPABILITIES, capabilities_drop(record, stranger))
    if for_good and not stranger:
        sandbox_note(sandbox, LANDLOCK, landlock_enter(record))
    if for_good:
        sandbox_note(sandbox, SECCOMP, filter_calls(record, filter))


cdef inline void sandbox_say(Record* record, const Sandbox* sandbox) noexcept nogil:
    """A start under `strict` has found that all could be had: what has gone since is an error."""
    cdef int number
    for number in range(PARTS):
        if sandbox.refused & 1 << number:
            if record.sandbox == SANDBOX_STRICT:
                say_errno(
                    record, LEVEL_ERROR, b"The kernel now refuses a part of the sandbox",
                    strerror(-sandbox.reasons[number]))
            else:
                say_errno(
                    record, LEVEL_DEBUG, b"The kernel refuses a part of the sandbox",
                    strerror(-sandbox.reasons[number]))


cdef inline uint64_t sandbox_missing(Record* record) noexcept nogil:
    """What is refused, tried in a child: bits. Where there can be no child, nothing is known."""
    cdef Sandbox sandbox
    cdef int status = 0
    cdef pid_t pid = vfork()
    if pid < 0:  # or a seccomp filter knows no vfork
        pid = fork()
    if pid == 0:
        sandbox_enter(record, False, <Filter*>buffer_chunk, &sandbox)
        _exit(<int>sandbox.refused)
    if pid > 0:
        waitpid(pid, &status, 0)
    # a filter that is there already may end who asks for more
    return ALL_OF_IT if status & 0x7f else status >> 8


cdef inline bint filtered_to_death(Record* record) noexcept nogil:
    """Whether a filter that we have from our caller ends who asks for one of the calls needed.

    Under `strict` the start has been refused then. Without such a filter nothing is tried.
    """
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == FILTERED and sandbox_missing(record) == ALL_OF_IT


cdef inline void forgo_privileges(Monitor* m) noexcept nogil:
    """Give up what the monitor has no use for. The filter is made in a buffer, to be given back."""
    cdef Sandbox sandbox
    if m.record.sandbox == SANDBOX_OFF:
        return
    if filtered_to_death(m.record):
        say(m.record, LEVEL_DEBUG, b"No sandbox: the filter that conmon has would end it")
        return
    buffers_touch(m, sizeof(Filter))
    sandbox_enter(m.record, m.pidfd.fd >= 0 or m.by_clock, <Filter*>m.chunk, &sandbox)
    m.record.counters.sandbox = sandbox.on
    sandbox_say(m.record, &sandbox)


cdef inline bint may_not_execute(const Record* record) noexcept nogil:
    """Whether an exec would be refused."""
    return record.counters.sandbox & (1 << LANDLOCK | 1 << SECCOMP)
