"""Rotation of the k8s-file log (C11): log to .1, .1 to .2, up to .N, and a new log.

Each step leaves its mark in the directory, so that any of them may fail, or be the last thing
that conmon does: whoever tries next sees where to go on, and no record is ever in a file that
the next steps remove, the oldest apart.

1. <log>.new is made, empty and appended to: where that fails, nothing has been moved yet. One
   that is there already, from a conmon that was killed, is empty too and is removed.
2. .i becomes .i+1, from the lowest free number down: a shift that stopped half-way left a free
   number, and goes on there instead of pushing one file more over the end.
3. <log> becomes .1. Not if it is no longer our file: somebody has moved that away (C11.4).
4. <log>.new becomes <log>, never over a file that somebody else has put there.
5. The new file is written to. Until then records go on into the old one, whatever its name.

The renames are those of C conmon in its order: followers of the log know them. So between 3
and 4 the name is missing for a moment, and after a kill there until conmon starts again.

All names are looked up in a directory that is held open from the start on, where they were
checked, and no symlink is followed: nobody who can write to some directory above can turn a
rotation to other files.

C conmon takes a write lock (F_SETLK) while it rotates. We do not: neither the callers nor the
readers of logs know that lock, conmon's own writes never respected it, file systems without locks
could not rotate, and whoever may read a log could switch its size limit off with a read lock.
"""

from libc.errno cimport EEXIST, EINVAL, EISDIR, ENAMETOOLONG, ENOENT, ENOSYS, errno

from conmon.core.kernel cimport (
    AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_APPEND, O_CLOEXEC, O_CREAT, O_EXCL, O_NOCTTY, O_NOFOLLOW,
    O_NONBLOCK, O_WRONLY, S_ISDIR, S_ISREG, SYS_renameat2, close, fstat, fstatat, openat,
    renameat, snprintf, stat_t, syscall, unlinkat,
)
from conmon.core.logwait cimport is_regular, log_set_blocking
from conmon.core.state cimport Log

cdef enum:
    NAME_LIMIT = 272      # bytes of a name beside the log: NAME_MAX, a dot, a number, NUL
    RENAME_NOREPLACE = 1  # <linux/fs.h>

cdef enum Named:
    NAMED_OURS            # the log's name is that of the file that we write to
    NAMED_NOTHING
    NAMED_OTHER


cdef inline int log_named(const Log* log) noexcept nogil:
    """What has the log's name now. No symlink is ours. Where the log has no name, nothing can."""
    cdef stat_t ours, named
    if log.name == NULL:
        return NAMED_OURS
    if fstatat(log.dir, log.name, &named, AT_SYMLINK_NOFOLLOW) < 0:
        return NAMED_NOTHING if errno == ENOENT else NAMED_OTHER
    if (fstat(log.fd, &ours) == 0 and named.st_dev == ours.st_dev
            and named.st_ino == ours.st_ino):
        return NAMED_OURS
    return NAMED_OTHER


cdef inline int log_open_named(const Log* log) noexcept nogil:
    """Open the file of the log's name for appending, made if there is none; its fd or -errno.

    A symlink is not followed (ELOOP). In a held directory, and where our log is a regular file,
    it must be one too (EINVAL).
    """
    cdef int fd = openat(
        # O_NONBLOCK: a fifo in the log's place must not stop us here
        log.dir, log.name,
        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK, 0o640)
    if fd < 0:
        return -errno
    if not is_regular(fd) and (log.dir != AT_FDCWD or is_regular(log.fd)):
        close(fd)
        return -EINVAL
    log_set_blocking(fd, True)
    return fd


cdef inline int create_anew(const Log* log, const char* name) noexcept nogil:
    """Make the file `name` beside the log for appending; its fd or -errno, EEXIST if it is."""
    cdef int fd = openat(
        log.dir, name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o640)
    return fd if fd >= 0 else -errno


cdef inline int create_new(const Log* log, char* name) noexcept nogil:
    """Step 1: make <log>.new, and its `name` of NAME_LIMIT bytes; its fd or -errno."""
    cdef stat_t about
    cdef int fd
    if <size_t>snprintf(name, NAME_LIMIT, b"%s.new", log.name) >= NAME_LIMIT:
        return -ENAMETOOLONG
    fd = create_anew(log, name)
    if (fd == -EEXIST and fstatat(log.dir, name, &about, AT_SYMLINK_NOFOLLOW) == 0
            and S_ISREG(about.st_mode) and about.st_size == 0
            and unlinkat(log.dir, name, 0) == 0):
        fd = create_anew(log, name)
    return fd


cdef inline void numbered(const Log* log, int number, char* name) noexcept nogil:
    """The name of an old log. It always fits: <log>.new did, or the kernel refuses what is cut."""
    snprintf(name, NAME_LIMIT, b"%s.%d", log.name, number)


cdef inline int rename_number(const Log* log, const char* old, int number) noexcept nogil:
    """Give `old` a number; 0, also if there is no such file, or -errno."""
    cdef char name[NAME_LIMIT]
    numbered(log, number, name)
    if renameat(log.dir, old, log.dir, name) < 0 and errno != ENOENT:
        return -errno
    return 0


cdef inline int free_number(const Log* log, int most) noexcept nogil:
    """The lowest number that no old log has, `most` if all are taken; -errno.

    A directory among them is nobody's log: it stays where it is, and nothing is moved.
    """
    cdef char name[NAME_LIMIT]
    cdef stat_t about
    cdef int number = 1
    while True:
        numbered(log, number, name)
        if fstatat(log.dir, name, &about, AT_SYMLINK_NOFOLLOW) < 0:
            return number if errno == ENOENT else -errno
        if S_ISDIR(about.st_mode):
            return -EISDIR
        if number == most:
            return most
        number += 1


cdef inline int move_aside(const Log* log, int most) noexcept nogil:
    """Steps 2 and 3: the log becomes .1 of at most `most` old ones; 0 or -errno."""
    cdef char name[NAME_LIMIT]
    cdef int number = free_number(log, most)
    cdef int failure = 0
    if number < 0:
        return number
    while number > 1 and failure == 0:
        numbered(log, number - 1, name)
        failure = rename_number(log, name, number)
        number -= 1
    return failure if failure else rename_number(log, log.name, 1)


cdef inline int put_in_place(const Log* log, const char* name) noexcept nogil:
    """Step 4: `name` becomes the log; 0 or -errno, EEXIST if somebody has made one."""
    if syscall(SYS_renameat2, log.dir, name, log.dir, log.name, RENAME_NOREPLACE) == 0:
        return 0
    # not every file system knows the flag: NFS does not
    if errno != EINVAL and errno != ENOSYS:
        return -errno
    return 0 if renameat(log.dir, name, log.dir, log.name) == 0 else -errno


cdef inline int rotate_files(const Log* log, int most) noexcept nogil:
    """Move the log aside, if it is ours, and put a new one in its place; its fd or -errno."""
    cdef char name[NAME_LIMIT]
    cdef int failure = 0
    cdef int fd = create_new(log, name)
    if fd < 0:
        return fd
    if log_named(log) == NAMED_OURS:
        failure = move_aside(log, most)
    if failure == 0:
        failure = put_in_place(log, name)
    if failure == 0:
        return fd
    close(fd)
    unlinkat(log.dir, name, 0)
    return failure
