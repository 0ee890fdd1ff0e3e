"""The system calls that the monitor may make, and why: the table of its filter (seccomp.pxd).

It holds for the monitor life, the finish life behind it and the children of both, where nothing is
executed any more. What is not here fails with EPERM, or with ENOSYS where Linux has it since 5.1
only: then a newer libc goes the way that it goes on an older kernel. Nothing ends the process: a
call that somebody forgot, or that a newer libc makes, is to cost what the call was for, and not an
exit code.
"""

from conmon.core.kernel cimport (
    AF_UNIX, FIONREAD, F_ADD_SEALS, F_GETFL, F_GETPIPE_SZ, F_GET_SEALS, F_SETFD, F_SETFL,
    F_SETPIPE_SZ, MSG_DONTWAIT, MSG_NOSIGNAL, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE,
    SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM, SYS_pidfd_open, SYS_pidfd_send_signal,
    TIOCOUTQ, TIOCSWINSZ, getpgid, getpid, pid_t,
)
from conmon.core.record cimport Record
from conmon.core.seccomp cimport (
    Filter, filter_allow, filter_any, filter_call, filter_call_end, filter_is, filter_is_high,
    filter_is_wide, filter_within,
)
from conmon.core.stranger cimport PIDFD_GET_INFO


cdef extern from *:
    """
    #include <sys/syscall.h>
    #define CONMON_COUNT(array) (sizeof(array) / sizeof(array)[0])

    /* Whatever their arguments are. */
    static const short conmon_plain_calls[] = {
        /* the loop */
        SYS_epoll_ctl, SYS_epoll_pwait,
    #ifdef SYS_epoll_wait
        SYS_epoll_wait,
    #endif
        SYS_epoll_create1,          /* of the child that serves clients after the end */
        SYS_ppoll,                  /* where epoll fails; waits of the end */
    #ifdef SYS_poll
        SYS_poll,
    #endif

        /* streams, fifos, sockets, the log, exit files */
        SYS_read, SYS_readv, SYS_pread64, SYS_write, SYS_writev, SYS_pwrite64,
        SYS_splice,                 /* output that nobody wants */
        SYS_close, SYS_close_range, SYS_lseek, SYS_fstat,
        SYS_pipe2,                  /* the gate of a child that closes what was passed to us */

        /* files by name: the log reopened and rotated, exit files, oom, names removed at the end,
           /proc/PID/stat, /etc/localtime */
        SYS_openat, SYS_newfstatat, SYS_readlinkat, SYS_unlinkat, SYS_linkat,
    #ifdef SYS_renameat
        SYS_renameat,
    #endif
        SYS_renameat2,
    #ifdef SYS_open /* x86-64 */
        SYS_open, SYS_stat, SYS_lstat, SYS_readlink, SYS_unlink, SYS_rename,
    #endif
        SYS_ftruncate,              /* a torn record is taken back; a full log is emptied */
        SYS_fallocate, SYS_fsync, SYS_fdatasync,
        SYS_umask,

        /* attach clients, the journal, syslog, notifications */
        SYS_accept4, SYS_connect, SYS_recvfrom, SYS_recvmsg,
        SYS_shutdown, SYS_setsockopt, SYS_getsockopt,
        SYS_memfd_create,           /* a journal entry that is too large for a datagram */

        /* deaths and signals */
        SYS_wait4, SYS_getpgid, SYS_getpid, SYS_gettid,
        SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn,
        SYS_setitimer,              /* a finish life that finds no end is ended */

        /* time */
        SYS_clock_gettime, SYS_clock_nanosleep, SYS_nanosleep, SYS_restart_syscall,
        SYS_gettimeofday,

        /* libc: memory; locks; names of temporary files; the start of a forked child */
        SYS_brk, SYS_madvise, SYS_futex, SYS_getrandom, SYS_set_robust_list,
        SYS_set_tid_address,
    #ifdef SYS_rseq
        SYS_rseq,
    #endif
    #ifdef SYS_getrlimit /* how many fds there are, for kernels without close_range */
        SYS_getrlimit,
    #endif
    #ifdef SYS_fork /* musl's way to one; glibc's is clone */
        SYS_fork,
    #endif

        SYS_exit, SYS_exit_group,
    };

    #ifdef CONMON_IMAGE
    extern char conmon_image_start[], conmon_image_end[]; /* tools/image.ld */
    extern char conmon_python_start[], conmon_python_end[];
    #define CONMON_HAS_IMAGE 1
    #else
    #define CONMON_HAS_IMAGE 0
    #define conmon_image_start ((char *)0)
    #define conmon_image_end ((char *)0)
    #define conmon_python_start ((char *)0)
    #define conmon_python_end ((char *)0)
    #endif
    """
    const short conmon_plain_calls[]
    enum: PLAIN_CALLS "CONMON_COUNT(conmon_plain_calls)"
    bint HAS_IMAGE "CONMON_HAS_IMAGE"
    char* conmon_image_start
    char* conmon_image_end
    char* conmon_python_start
    char* conmon_python_end

cdef extern from "<sys/syscall.h>" nogil:
    enum: SYS_clone, SYS_fcntl, SYS_ioctl, SYS_kill, SYS_mmap, SYS_mprotect, SYS_mremap
    enum: SYS_prlimit64, SYS_socket, SYS_tgkill, SYS_munmap, SYS_fchmod, SYS_sendto, SYS_sendmsg
    enum: SYS_sendmmsg

cdef enum:
    FORK_FLAGS = 0x012000FF  # CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID and the signal: fork(3)
    MREMAP_MAYMOVE = 1


cdef inline void plain_calls(Filter* filter) noexcept nogil:
    cdef size_t i
    for i in range(PLAIN_CALLS):
        filter_allow(filter, conmon_plain_calls[i])


cdef inline void checked_calls(Filter* filter, const Record* record) noexcept nogil:
    """Those of which some arguments are right."""
    one_of_sockets(filter, record)
    one_of_processes(filter, record.container_pid)
    one_of_files(filter)
    one_of_fds(filter)
    one_of_memory(filter)


cdef inline void one_of_sockets(Filter* filter, const Record* record) noexcept nogil:
    """The journal's, syslog's and the service manager's are datagram sockets of this host. Those
    who serve requests have streams. No MSG_FASTOPEN, which connects."""
    filter_call(filter, SYS_socket)
    filter_is(filter, 0, AF_UNIX)
    filter_within(filter, 1, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
    if record.use_syslog:  # libc tries a stream where there is no datagram socket
        filter_any(filter)
        filter_is(filter, 0, AF_UNIX)
        filter_within(filter, 1, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
    filter_call_end(filter)
    filter_call(filter, SYS_sendto)
    filter_within(filter, 3, MSG_DONTWAIT | MSG_NOSIGNAL)
    filter_call_end(filter)
    filter_call(filter, SYS_sendmsg)
    filter_within(filter, 2, MSG_DONTWAIT | MSG_NOSIGNAL)
    filter_call_end(filter)
    filter_call(filter, SYS_sendmmsg)
    filter_within(filter, 3, MSG_DONTWAIT | MSG_NOSIGNAL)
    filter_call_end(filter)


cdef inline void one_of_processes(Filter* filter, pid_t container) noexcept nogil:
    """A child by fork: the log's, the clients', the journal's. Signals: to the container, its
    group, and, by abort(3), to ourselves."""
    cdef pid_t group = getpgid(container)
    filter_call(filter, SYS_clone)
    filter_within(filter, 0, FORK_FLAGS)
    filter_call_end(filter)
    filter_call(filter, SYS_kill)
    filter_is(filter, 0, container)
    if container > 1:
        filter_any(filter)
        filter_is(filter, 0, -container)
    if group > 1 and group != container and group != getpgid(0):
        filter_any(filter)
        filter_is(filter, 0, -group)
    filter_call_end(filter)
    filter_call(filter, SYS_tgkill)
    filter_is(filter, 0, getpid())
    filter_call_end(filter)
    filter_call(filter, SYS_pidfd_open)
    filter_is(filter, 0, container)
    filter_call_end(filter)
    filter_call(filter, SYS_pidfd_send_signal)  # only to see whether it is there
    filter_is(filter, 1, 0)
    filter_call_end(filter)


cdef inline void one_of_files(Filter* filter) noexcept nogil:
    """An exit file's mode. Whatever can be opened could get any mode else: there is CAP_FOWNER."""
    filter_call(filter, SYS_fchmod)
    filter_is(filter, 1, 0o644)
    filter_call_end(filter)


cdef inline void one_of_fds(Filter* filter) noexcept nogil:
    """What is in a pipe or socket, the terminal's size, how a stranger ended. Not TIOCSTI."""
    filter_call(filter, SYS_ioctl)
    filter_is(filter, 1, FIONREAD)
    filter_any(filter)
    filter_is(filter, 1, TIOCOUTQ)
    filter_any(filter)
    filter_is(filter, 1, TIOCSWINSZ)
    filter_any(filter)
    filter_is(filter, 1, PIDFD_GET_INFO)
    filter_call_end(filter)
    filter_call(filter, SYS_fcntl)
    filter_is(filter, 1, F_SETFD)
    filter_any(filter)
    filter_is(filter, 1, F_GETFL)
    filter_any(filter)
    filter_is(filter, 1, F_SETFL)
    filter_any(filter)
    filter_is(filter, 1, F_GETPIPE_SZ)
    filter_any(filter)
    filter_is(filter, 1, F_SETPIPE_SZ)
    filter_any(filter)
    filter_is(filter, 1, F_ADD_SEALS)
    filter_any(filter)
    filter_is(filter, 1, F_GET_SEALS)
    filter_call_end(filter)
    filter_call(filter, SYS_prlimit64)  # to be told, not to set
    filter_is_wide(filter, 2, 0)
    filter_call_end(filter)


cdef inline void one_of_memory(Filter* filter) noexcept nogil:
    """New memory is no code, and comes where the kernel puts it. The interpreter, closed while
    the container runs, is opened as a whole, as code here and data there: no code can be written.
    """
    filter_call(filter, SYS_mmap)
    filter_is_wide(filter, 0, 0)
    filter_within(filter, 2, PROT_READ | PROT_WRITE)
    filter_call_end(filter)
    filter_call(filter, SYS_munmap)  # not of the program: its code would make room for another's
    filter_is_high(filter, 0)
    filter_call_end(filter)
    filter_call(filter, SYS_mremap)  # realloc(3)
    filter_is_high(filter, 0)
    filter_within(filter, 3, MREMAP_MAYMOVE)
    filter_call_end(filter)
    filter_call(filter, SYS_mprotect)
    filter_is(filter, 2, PROT_NONE)
    if HAS_IMAGE:
        filter_any(filter)
        filter_is_wide(filter, 0, <size_t>conmon_image_start)
        filter_is_wide(filter, 1, conmon_image_end - conmon_image_start)
        filter_is(filter, 2, PROT_READ | PROT_WRITE)
        filter_any(filter)
        filter_is_wide(filter, 0, <size_t>conmon_python_start)
        filter_is_wide(filter, 1, conmon_python_end - conmon_python_start)
        filter_is(filter, 2, PROT_READ | PROT_EXEC)
    filter_call_end(filter)
