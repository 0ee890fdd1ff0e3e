"""The capabilities that the monitor keeps (capabilities(7)); what it has no use for goes.

A process of uid 0 that executes something gets the bounding set's capabilities back: so the exit
command has what it would have had. Where that is not so, with another uid or SECBIT_NOROOT, or
where there are some to inherit, they are left as they are if something is to be executed.
"""

from libc.errno cimport errno
from libc.stdint cimport uint32_t
from libc.string cimport memset

from conmon.core.kernel cimport SYS_capget, SYS_capset, geteuid, prctl, syscall


cdef enum:
    CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
    PR_GET_SECUREBITS = 27
    SECBIT_NOROOT = 1
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


cdef inline uint32_t capabilities_kept(bint of_strangers) noexcept nogil:
    """All are among the first 32."""
    cdef uint32_t kept = (
        1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH | 1 << CAP_FOWNER | 1 << CAP_KILL
        | 1 << CAP_SYS_RESOURCE)
    return kept | 1 << CAP_SYS_PTRACE if of_strangers else kept


cdef inline bint capabilities_come_back(const CapabilityHalf* halves) noexcept nogil:
    """Whether an exec gives all back that is dropped. The ambient set is part of what is
    inheritable."""
    return (geteuid() == 0 and not prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) & SECBIT_NOROOT
            and not halves[0].inheritable and not halves[1].inheritable)


cdef inline int capabilities_drop(bint of_strangers, bint for_good) noexcept nogil:
    """Drop what the monitor does not need; 0, -errno, or 1: something is left for an exec.

    `for_good`: nothing is executed any more.
    """
    cdef CapabilityHead head
    cdef CapabilityHalf halves[2]
    cdef uint32_t kept[2]
    cdef int i
    head.version = CAPABILITY_VERSION
    head.pid = 0
    memset(halves, 0, sizeof(halves))
    kept[0] = capabilities_kept(of_strangers)
    kept[1] = 0
    if syscall(SYS_capget, &head, halves) < 0:
        return -errno
    if not (halves[0].permitted & ~kept[0] or halves[1].permitted):
        return 0
    if not for_good and not capabilities_come_back(halves):
        return 1
    for i in range(2):
        halves[i].effective &= kept[i]
        halves[i].permitted &= kept[i]
        halves[i].inheritable &= kept[i]
    return -errno if syscall(SYS_capset, &head, halves) < 0 else 0
