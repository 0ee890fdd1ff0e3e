"""An exit file, whose room was reserved before the container ran (C17.8, C17.9).

A disk that the container has filled has no room for the exit code. So each file is made at the
start: O_TMPFILE, without a name, with room in it, held open. At the end the code is written over
what is there, which needs no new block, and the file is linked beside its goal and renamed to it.
Nothing is left of it where conmon is killed. What cannot be reserved, or whose directory is
another one by then, is written as a file of its own.
"""

from libc.errno cimport EEXIST, EIO, ENAMETOOLONG, EBADF, errno
from libc.string cimport memset, strlen

from conmon.core.atomicfile cimport PATH_LIMIT, write_atomically, write_whole
from conmon.core.clock cimport pause_ms
from conmon.core.kernel cimport (
    AT_FDCWD, AT_SYMLINK_FOLLOW, CLOCK_MONOTONIC, O_CLOEXEC, O_TMPFILE, O_WRONLY, clock_gettime,
    close, fchmod, fstat, ftruncate, linkat, open, pwrite, rename, snprintf, stat_t,
    timespec, unlink,
)

cdef enum:
    EXIT_FILE_ROOM = 16   # bytes of a reserved file; a code has at most eleven
    EXIT_FILE_TRIES = 21  # in two seconds
    EXIT_FILE_PAUSE = 100  # ms between two tries
    LINK_TRIES = 100      # names beside the goal that others may have by chance

cdef struct ExitFile:
    int reserved              # fd; -1: none, or it was used before
    const char* path
    char code[EXIT_FILE_ROOM]
    char beside[PATH_LIMIT]   # the reserved file's name until it is renamed; empty: it has none


cdef inline int exit_file_reserve(const char* directory) noexcept nogil:
    """A file without a name in `directory`, with room for a code: its fd, or -errno."""
    cdef char room[EXIT_FILE_ROOM]
    cdef int failure
    cdef int fd = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0o644)
    if fd < 0:
        return -errno
    memset(room, c" ", sizeof(room))
    failure = write_whole(fd, room, sizeof(room))
    if failure == 0 and fchmod(fd, 0o644) < 0:
        failure = -errno
    if failure:
        close(fd)
    return failure if failure else fd


cdef inline int exit_file_fill(ExitFile* file) noexcept nogil:
    """Write the code over the room in a reserved file; 0 or -errno.

    A file that has a name already is left alone: a life that died since then has put it in place.
    """
    cdef stat_t about
    cdef ssize_t size = strlen(file.code)
    cdef ssize_t n
    if fstat(file.reserved, &about) < 0:
        return -errno
    if about.st_nlink > 0:
        return -EEXIST
    n = pwrite(file.reserved, file.code, size, 0)
    if n != size:
        return -errno if n < 0 else -EIO
    return 0 if ftruncate(file.reserved, size) == 0 else -errno


cdef inline void name_beside(ExitFile* file) noexcept nogil:
    """A name such as mkostemp(3) makes them."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    snprintf(file.beside, sizeof(file.beside), b"%s.%06x", file.path,
             <unsigned int>(now.tv_nsec ^ (now.tv_sec << 8)) & 0xffffff)


cdef inline int exit_file_link(const ExitFile* file, const char* path) noexcept nogil:
    """Give the reserved file a name that nobody has; 0 or -errno."""
    cdef char source[32]
    snprintf(source, sizeof(source), b"/proc/self/fd/%d", file.reserved)
    return 0 if linkat(AT_FDCWD, source, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 else -errno


cdef inline int exit_file_link_beside(ExitFile* file) noexcept nogil:
    cdef int failure = -EEXIST
    cdef int _try
    for _try in range(LINK_TRIES):
        name_beside(file)
        failure = exit_file_link(file, file.beside)
        if failure != -EEXIST:
            break
    if failure:
        file.beside[0] = 0
    return failure


cdef inline int exit_file_by_room(ExitFile* file) noexcept nogil:
    """Put the reserved file in its place; 0 or -errno."""
    cdef int failure
    if file.reserved < 0:
        return -EBADF
    if file.beside[0] == 0:
        failure = exit_file_fill(file)
        if failure:
            return failure
        failure = exit_file_link_beside(file)
        if failure:  # a full directory may have room for one name, the longest name for no more
            return failure if exit_file_link(file, file.path) < 0 else 0
    if rename(file.beside, file.path) < 0:
        return -errno
    file.beside[0] = 0
    return 0


cdef inline int exit_file_write(int reserved, const char* path, int code) noexcept nogil:
    """Have `path` hold the exit code, with mode 0644, by rename; 0 or -errno.

    `reserved`: from exit_file_reserve, or -1. Both ways are tried for two seconds: what keeps the
    code from its file, a full disk say, may be gone by then.
    """
    cdef ExitFile file
    cdef int failure = 0
    cdef int number
    if strlen(path) + 8 > sizeof(file.beside):
        return -ENAMETOOLONG
    file.reserved = reserved
    file.path = path
    file.beside[0] = 0
    snprintf(file.code, sizeof(file.code), b"%d", code)
    for number in range(EXIT_FILE_TRIES):
        if number:
            pause_ms(EXIT_FILE_PAUSE)
        failure = exit_file_by_room(&file)
        if failure:
            failure = write_atomically(path, file.code, strlen(file.code))
        if failure == 0:
            break
    if file.beside[0]:
        unlink(file.beside)
    return failure
