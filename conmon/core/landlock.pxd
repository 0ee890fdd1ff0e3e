"""Where the monitor may still make, write to, rename and remove files: Landlock (landlock(7)).

Below the directories of bundle, exit files, attach link and log. The kernel holds a directory,
not its path; and one that somebody makes anew while the container runs must get the exit code, too.
So it is the directory above that is named. Where that is the root this would deny nothing, or lose
an exit file, and is not done. Reading is free: /proc, the time zone. So are the fds that are open.
"""

from libc.errno cimport EINVAL, ENAMETOOLONG, ENOENT, ENOSYS, EXDEV, errno
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcpy, strrchr

from conmon.core.atomicfile cimport PATH_LIMIT
from conmon.core.kernel cimport (
    AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_CLOEXEC, O_PATH, S_ISCHR, S_ISLNK, close, fstat, fstatat, open,
    snprintf, stat, stat_t, syscall,
)
from conmon.core.record cimport Record, record_text


cdef extern from *:
    """
    #include <sys/syscall.h>
    #ifndef SYS_landlock_create_ruleset
    #define SYS_landlock_create_ruleset 444 /* since Linux 5.13, the same for all processors */
    #define SYS_landlock_add_rule 445
    #define SYS_landlock_restrict_self 446
    #endif
    #if defined(__SANITIZE_ADDRESS__)
    #define CONMON_LANDLOCK 0 /* its reports go to a directory of their own */
    #else
    #define CONMON_LANDLOCK 1
    #endif
    struct conmon_landlock_rule { /* struct landlock_path_beneath_attr */
        uint64_t allowed;
        int32_t fd;
    } __attribute__((packed));
    """
    bint CONMON_LANDLOCK
    enum: SYS_landlock_create_ruleset, SYS_landlock_add_rule, SYS_landlock_restrict_self
    struct LandlockRule "conmon_landlock_rule":
        uint64_t allowed
        int32_t fd

cdef enum:
    LANDLOCK_VERSION = 1        # LANDLOCK_CREATE_RULESET_VERSION
    LANDLOCK_PATH = 1           # LANDLOCK_RULE_PATH_BENEATH
    LANDLOCK_OUR_OWN = 3        # the least version: linking and truncating are told apart in it
    LANDLOCK_WITH_NET = 4       # from this version on
    LANDLOCK_EXECUTE = 1 << 0
    LANDLOCK_WRITE = 1 << 1
    LANDLOCK_REMOVE_FILE = 1 << 5
    LANDLOCK_MAKE_REGULAR = 1 << 8
    LANDLOCK_TRUNCATE = 1 << 14
    # to remove directories; to make char devices, directories, sockets, fifos, block devices,
    # symlinks; to link and rename from one directory into another
    LANDLOCK_OTHERS = 1 << 4 | 1 << 6 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13
    LANDLOCK_TCP = 1 << 0 | 1 << 1  # bind, connect

cdef struct LandlockRules:      # struct landlock_ruleset_attr in its second version
    uint64_t files
    uint64_t net


cdef inline uint64_t landlock_allowed() noexcept nogil:
    return (LANDLOCK_WRITE | LANDLOCK_REMOVE_FILE | LANDLOCK_MAKE_REGULAR | LANDLOCK_TRUNCATE)


cdef inline int landlock_version() noexcept nogil:
    """-errno where the kernel has none, or it is not switched on."""
    cdef int version
    if not CONMON_LANDLOCK:
        return -ENOSYS
    version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION)
    return version if version >= 0 else -errno


cdef inline int allow_beneath(int rules, int fd, uint64_t allowed) noexcept nogil:
    cdef LandlockRule rule
    rule.allowed = allowed
    rule.fd = fd
    return -errno if syscall(SYS_landlock_add_rule, rules, LANDLOCK_PATH, &rule, 0) < 0 else 0


cdef inline bint is_root(int fd) noexcept nogil:
    """Whether a directory is the root, below which is all there is."""
    cdef stat_t root, about
    return (stat(b"/", &root) == 0 and fstat(fd, &about) == 0 and about.st_dev == root.st_dev
            and about.st_ino == root.st_ino)


cdef inline int allow_path(int rules, const char* path, uint64_t allowed) noexcept nogil:
    """Allow a file, or what is below a directory; -EXDEV for the root."""
    cdef int failure
    cdef int fd = open(path, O_PATH | O_CLOEXEC)
    if fd < 0:
        return -errno
    failure = -EXDEV if is_root(fd) else allow_beneath(rules, fd, allowed)
    close(fd)
    return failure


cdef inline int directory_of(const char* path, char* out) noexcept nogil:
    """The directory that a path's last name is in; 0 or -ENAMETOOLONG."""
    cdef const char* slash = strrchr(path, c"/")
    cdef size_t size = slash + 1 - path if slash != NULL else 0
    if size + 2 > PATH_LIMIT:
        return -ENAMETOOLONG
    memcpy(out, path, size)
    out[size] = c"."
    out[size + 1] = 0
    return 0


cdef inline int allow_above(int rules, const char* directory) noexcept nogil:
    """Allow what is below the directory above this one, which may be none, or not be there yet.

    Where it is a symlink that is two: the one above what it leads to, and the one that the link is
    in, where a directory, or another link, may take its place.
    """
    cdef char above[PATH_LIMIT]
    cdef stat_t about
    cdef int failure
    if directory == NULL:
        return 0
    if <size_t>snprintf(above, sizeof(above), b"%s/..", directory) >= sizeof(above):
        return -ENAMETOOLONG
    failure = allow_path(rules, above, landlock_allowed())
    if failure == 0 and not (
            fstatat(AT_FDCWD, directory, &about, AT_SYMLINK_NOFOLLOW) == 0
            and S_ISLNK(about.st_mode)):
        return 0
    if failure and failure != -ENOENT:
        return failure
    failure = directory_of(directory, above)
    return failure if failure else allow_path(rules, above, landlock_allowed())


cdef inline int allow_link(int rules, const char* path) noexcept nogil:
    """The attach socket's link, which is only removed; there may be none."""
    cdef char directory[PATH_LIMIT]
    cdef int failure
    if path == NULL:
        return 0
    failure = directory_of(path, directory)
    return failure if failure else allow_path(rules, directory, LANDLOCK_REMOVE_FILE)


cdef inline int allow_log(int rules, const Record* record) noexcept nogil:
    """The log's directory, which may be held; of a device, which nobody rotates, no more than it.
    """
    cdef const char* path = record_text(record, record.log_path)
    cdef char directory[PATH_LIMIT]
    cdef stat_t about
    cdef int failure
    if record.log_fd < 0 or path == NULL:
        return 0
    if fstat(record.log_fd, &about) == 0 and S_ISCHR(about.st_mode):
        return allow_path(rules, path, LANDLOCK_WRITE | LANDLOCK_TRUNCATE)
    if record.log_dir_fd >= 0:
        if is_root(record.log_dir_fd):
            return -EXDEV
        return allow_beneath(rules, record.log_dir_fd, landlock_allowed())
    failure = directory_of(path, directory)
    return failure if failure else allow_above(rules, directory)


cdef inline int allow_places(int rules, const Record* record) noexcept nogil:
    """All that the monitor and the finish life write to by name; 0 or -errno."""
    cdef int failure = allow_above(rules, record_text(record, record.bundle))
    if failure == 0:
        failure = allow_above(rules, record_text(record, record.persist_dir))
    if failure == 0:
        failure = allow_above(rules, record_text(record, record.exit_dir))
    if failure == 0:
        failure = allow_link(rules, record_text(record, record.attach_link))
    if failure == 0:
        failure = allow_log(rules, record)
    return failure


cdef inline int landlock_enter(const Record* record) noexcept nogil:
    """0, or -errno: EXDEV where a directory is next to the root. After no_new_privs."""
    cdef LandlockRules wanted
    cdef int version = landlock_version()
    cdef int failure, rules
    if version < LANDLOCK_OUR_OWN:
        return version if version < 0 else -EINVAL
    wanted.files = landlock_allowed() | LANDLOCK_EXECUTE | LANDLOCK_OTHERS
    wanted.net = LANDLOCK_TCP
    rules = syscall(
        SYS_landlock_create_ruleset, &wanted,
        sizeof(wanted) if version >= LANDLOCK_WITH_NET else sizeof(wanted.files), 0)
    if rules < 0:
        return -errno
    failure = allow_places(rules, record)
    if failure == 0 and syscall(SYS_landlock_restrict_self, rules, 0) < 0:
        failure = -errno
    close(rules)
    return failure
