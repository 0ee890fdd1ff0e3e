"""The capabilities that the monitor keeps (capabilities(7)); what it has no use for goes.

For good where nothing is executed any more. With an exit command only the effective set is lowered,
and raised again before the command is executed. An exec as uid 0 would bring back what is gone from
the permitted set too, but a process that gains by its exec cannot be dumped or traced from then on:
the command would not be what it is with C conmon.
"""

from libc.errno cimport errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from conmon.core.kernel cimport SYS_capget, SYS_capset, syscall
from conmon.core.record cimport Record

cdef enum:
    CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
    CAP_DAC_OVERRIDE = 1       # logs, exit files, sockets in directories of others
    CAP_DAC_READ_SEARCH = 2    # the way to these
    CAP_FOWNER = 3             # renaming and removing there, where the sticky bit is set
    CAP_KILL = 5               # a container has another uid
    CAP_SYS_PTRACE = 19        # how a process has ended that is not our child: stranger.pxd
    CAP_SYS_RESOURCE = 24      # an exit file beyond a quota; pipes made wide beyond the user's
                               # limit; the exit command's oom_score_adj

cdef struct CapabilityHead:    # struct __user_cap_header_struct
    uint32_t version
    int pid

cdef struct CapabilityHalf:    # struct __user_cap_data_struct: 32 of them
    uint32_t effective
    uint32_t permitted
    uint32_t inheritable


cdef inline int capabilities_get(CapabilityHalf* halves) noexcept nogil:
    cdef CapabilityHead head
    head.version = CAPABILITY_VERSION
    head.pid = 0
    memset(halves, 0, 2 * sizeof(CapabilityHalf))
    return -errno if syscall(SYS_capget, &head, halves) < 0 else 0


cdef inline int capabilities_set(const CapabilityHalf* halves) noexcept nogil:
    cdef CapabilityHead head
    head.version = CAPABILITY_VERSION
    head.pid = 0
    return -errno if syscall(SYS_capset, &head, halves) < 0 else 0


cdef inline uint32_t capabilities_kept(bint of_strangers) noexcept nogil:
    """All are among the first 32."""
    cdef uint32_t kept = (
        1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH | 1 << CAP_FOWNER | 1 << CAP_KILL
        | 1 << CAP_SYS_RESOURCE)
    return kept | 1 << CAP_SYS_PTRACE if of_strangers else kept


cdef inline int capabilities_drop(Record* record, bint of_strangers) noexcept nogil:
    """Drop, or with an exit command lower, what the monitor does not need; 0 or -errno."""
    cdef CapabilityHalf halves[2]
    cdef uint32_t kept[2]
    cdef int i
    cdef int failure = capabilities_get(halves)
    if failure:
        return failure
    kept[0] = capabilities_kept(of_strangers)
    kept[1] = 0
    record.capabilities = halves[0].effective | <uint64_t>halves[1].effective << 32
    for i in range(2):
        halves[i].effective &= kept[i]
        if not record.exit_argv:
            halves[i].permitted &= kept[i]
            halves[i].inheritable &= kept[i]
    return capabilities_set(halves)


cdef inline void capabilities_raise(const Record* record) noexcept nogil:
    """Have those again that were effective before they were lowered."""
    cdef CapabilityHalf halves[2]
    if record.capabilities and capabilities_get(halves) == 0:
        halves[0].effective = <uint32_t>record.capabilities & halves[0].permitted
        halves[1].effective = <uint32_t>(record.capabilities >> 32) & halves[1].permitted
        capabilities_set(halves)
