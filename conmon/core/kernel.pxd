"""What the core uses of Linux and libc, but for what is in Cython's `libc` package.

Of its `posix` package only types are used: it has half of these, and they are to be in one place.
"""

from libc.stdint cimport uint32_t, uint64_t
from posix.types cimport mode_t, off_t, pid_t


cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int op, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int most, int timeout_ms)
    enum: EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD
    enum: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR, EPOLLET

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long count, int timeout_ms)
    enum: POLLOUT

cdef extern from "<signal.h>" nogil:
    ctypedef struct sigset_t:
        pass
    ctypedef void (*sighandler_t)(int)
    int sigemptyset(sigset_t* set)
    int sigaddset(sigset_t* set, int signal)
    int sigprocmask(int how, const sigset_t* set, sigset_t* old)
    int sigtimedwait(const sigset_t* set, void* info, const timespec* timeout)
    int kill(pid_t pid, int signal)
    sighandler_t c_signal "signal"(int signal, sighandler_t handler)
    sighandler_t SIG_DFL, SIG_IGN
    enum: SIG_BLOCK, SIG_SETMASK
    enum: SIGABRT, SIGBUS, SIGPROF, SIGSEGV, SIGCHLD, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT
    enum: SIGTERM, SIGUSR1, SIGXFSZ

cdef extern from "<sys/signalfd.h>" nogil:
    struct signalfd_siginfo:
        uint32_t ssi_signo
    int signalfd(int fd, const sigset_t* set, int flags)
    enum: SFD_CLOEXEC, SFD_NONBLOCK

cdef extern from "<sys/time.h>" nogil:
    struct timeval:
        long tv_sec
        long tv_usec
    struct itimerval:
        timeval it_interval
        timeval it_value
    int setitimer(int which, const itimerval* new, itimerval* old)
    enum: ITIMER_PROF

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    ctypedef long time_t
    struct tm:
        int tm_year
        int tm_mon
        int tm_mday
        int tm_hour
        int tm_min
        int tm_sec
        long tm_gmtoff
    int clock_gettime(int clock, timespec* now)
    int nanosleep(const timespec* wanted, timespec* left)
    tm* localtime_r(const time_t* seconds, tm* out)
    enum: CLOCK_REALTIME, CLOCK_MONOTONIC

cdef extern from "<sys/wait.h>" nogil:
    pid_t waitpid(pid_t pid, int* status, int options)
    int WIFEXITED(int status)
    int WEXITSTATUS(int status)
    int WIFSIGNALED(int status)
    int WTERMSIG(int status)
    enum: WNOHANG

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* where, size_t length, int protection, int flags, int fd, off_t offset)
    int munmap(void* where, size_t length)
    int madvise(void* where, size_t length, int advice)
    int mprotect(void* where, size_t length, int allowed)
    int memfd_create(const char* name, unsigned int flags)
    void* MAP_FAILED
    enum: PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC
    enum: MAP_PRIVATE, MAP_SHARED, MAP_ANONYMOUS, MADV_DONTNEED
    enum: MFD_CLOEXEC, MFD_ALLOW_SEALING

cdef extern from "<fcntl.h>" nogil:
    int fcntl(int fd, int command, ...)
    int open(const char* path, int flags, ...)
    int openat(int dir_fd, const char* path, int flags, ...)
    int fallocate(int fd, int mode, off_t offset, off_t length)
    ssize_t splice(
        int from_fd, void* from_at, int to_fd, void* to_at, size_t size, unsigned int flags)
    enum: SPLICE_F_NONBLOCK
    enum: F_SETFD, F_GETFL, F_SETFL, F_ADD_SEALS, F_GET_SEALS, FD_CLOEXEC
    enum: F_GETPIPE_SZ, F_SETPIPE_SZ
    enum: F_SEAL_FUTURE_WRITE, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE
    enum: O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_APPEND, O_CLOEXEC, O_NONBLOCK
    enum: AT_EMPTY_PATH, O_PATH, O_NOFOLLOW, O_NOCTTY, O_TMPFILE
    enum: AT_FDCWD, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW
    enum: FALLOC_FL_KEEP_SIZE

cdef extern from "<sys/stat.h>" nogil:
    enum: S_IFMT
    struct stat_t "stat":
        mode_t st_mode
        off_t st_size
        unsigned long st_nlink
        uint64_t st_dev
        uint64_t st_ino
    int fstat(int fd, stat_t* out)
    int stat(const char* path, stat_t* out)
    int fstatat(int dir_fd, const char* path, stat_t* out, int flags)
    int fchmod(int fd, mode_t mode)
    mode_t umask(mode_t mask)
    int S_ISREG(mode_t mode)
    int S_ISDIR(mode_t mode)
    int S_ISCHR(mode_t mode)
    int S_ISLNK(mode_t mode)

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    ctypedef unsigned int socklen_t
    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int socket(int domain, int type, int protocol)
    int bind(int fd, const sockaddr* address, socklen_t length)
    int connect(int fd, const sockaddr* address, socklen_t length)
    int listen(int fd, int backlog)
    int accept4(int fd, sockaddr* address, socklen_t* length, int flags)
    int shutdown(int fd, int how)
    ssize_t send(int fd, const void* data, size_t length, int flags)
    ssize_t sendto(int fd, const void* data, size_t length, int flags, const sockaddr* address,
                   socklen_t size)
    ssize_t recv(int fd, void* data, size_t length, int flags)
    ssize_t recvmsg(int fd, msghdr* message, int flags)
    int sendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* size)
    int setsockopt(int fd, int level, int name, const void* value, socklen_t size)
    enum: AF_UNIX, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_CLOEXEC, SOCK_NONBLOCK
    enum: MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, SHUT_RD, SHUT_RDWR
    enum: SOL_SOCKET, SO_PASSCRED, SO_SNDBUF

cdef extern from *:
    """
    #ifndef SO_PASSRIGHTS
    #define SO_PASSRIGHTS 83 /* since Linux 6.16; <asm-generic/socket.h> */
    #endif
    """
    enum: SO_PASSRIGHTS

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int initial, int flags)
    enum: EFD_CLOEXEC, EFD_NONBLOCK

cdef extern from "<sys/inotify.h>" nogil:
    int inotify_init1(int flags)
    int inotify_add_watch(int fd, const char* path, uint32_t mask)
    enum: IN_CLOEXEC, IN_NONBLOCK, IN_MODIFY

cdef extern from "<sys/vfs.h>" nogil:
    struct statfs_t "statfs":
        long f_type
    int statfs(const char* path, statfs_t* out)

cdef extern from "<sys/un.h>" nogil:
    struct sockaddr_un:
        unsigned short sun_family
        char sun_path[108]

cdef extern from "<sys/ioctl.h>" nogil:
    struct winsize:
        unsigned short ws_row
        unsigned short ws_col
        unsigned short ws_xpixel
        unsigned short ws_ypixel
    int ioctl(int fd, unsigned long request, ...)
    enum: FIONREAD, TIOCOUTQ, TIOCSWINSZ

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, ...)
    enum: PR_SET_NAME, PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS

cdef extern from "<sys/syscall.h>" nogil:
    enum: SYS_execveat, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_close_range, SYS_renameat2
    enum: SYS_capget, SYS_capset, SYS_seccomp

cdef extern from "<unistd.h>" nogil:
    char** environ
    long syscall(long number, ...)
    ssize_t read(int fd, void* data, size_t count)
    enum: STDOUT_FILENO
    ssize_t write(int fd, const void* data, size_t count)
    ssize_t pread(int fd, void* data, size_t count, off_t offset)
    ssize_t pwrite(int fd, const void* data, size_t count, off_t offset)
    int close(int fd)
    int dup2(int old, int new)
    int pipe2(int* ends, int flags)
    int fsync(int fd)
    int ftruncate(int fd, off_t length)
    int unlink(const char* path)
    ssize_t readlink(const char* path, char* out, size_t size)
    int linkat(int old_dir_fd, const char* old, int new_dir_fd, const char* new, int flags)
    int symlink(const char* target, const char* path)
    int unlinkat(int dir_fd, const char* path, int flags)
    int execve(const char* path, char** argv, char** environment)
    long sysconf(int name)
    enum: _SC_OPEN_MAX
    pid_t fork()
    pid_t vfork()
    pid_t getpid()
    pid_t getpgid(pid_t pid)
    void _exit(int status)

cdef extern from "<stdlib.h>" nogil:
    int mkostemp(char* template, int flags)

cdef extern from "<stdio.h>" nogil:
    int rename(const char* old, const char* new)
    int renameat(int old_dir_fd, const char* old, int new_dir_fd, const char* new)
    int snprintf(char* out, size_t size, const char* format, ...)
