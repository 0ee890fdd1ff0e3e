"""Files of the kernel: /proc/PID/cgroup, the cgroup's count of kills, /proc/PID/stat.

The kernel writes them, but a container chooses the names in them, and a kernel of tomorrow may
write more. Each reader is held against another one, written to be plain and not quick.
"""

from libc.errno cimport EACCES, ENOENT, errno
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc, strtoll, strtoull
from libc.string cimport memchr, memcmp, memcpy, strlen

from conmon.core.memcg cimport CGROUP_TEXT, cgroup_path, count_kills
from conmon.core.stranger cimport STAT_TEXT, status_of_zombie, stranger_lives
from fuzz.feed cimport Feed, feed_begin, feed_number, hold

cdef enum:
    FILE = 99     # the fd of the file that is read
    FIELDS = 64   # of a stat file, at most that are looked at

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char* text, size_t most)

cdef char text[CGROUP_TEXT]
cdef const char* content
cdef size_t content_size
cdef bint absent      # there is no such file
cdef bint allowed     # the caller may read /proc/PID/ns

cdef extern ssize_t __real_read(int fd, void* out, size_t size) noexcept nogil
cdef extern int __real_open(const char* path, int flags, int mode) noexcept nogil
cdef extern int __real_close(int fd) noexcept nogil


cdef public int __wrap_open(const char* path, int flags, int mode) noexcept nogil:
    if memcmp(path, b"/proc/42/", 9) != 0:
        return __real_open(path, flags, mode)
    (&errno)[0] = ENOENT
    return -1 if absent else FILE


cdef public int __wrap_close(int fd) noexcept nogil:
    return 0 if fd == FILE else __real_close(fd)


cdef public ssize_t __wrap_read(int fd, char* out, size_t size) noexcept nogil:
    if fd != FILE:
        return __real_read(fd, out, size)
    size = min(size, content_size)
    memcpy(out, content, size)
    return size


cdef public ssize_t __wrap_pread(int fd, char* out, size_t size, long offset) noexcept nogil:
    return __wrap_read(fd, out, size)


cdef public ssize_t __wrap_readlink(const char* path, char* out, size_t size) noexcept nogil:
    (&errno)[0] = EACCES
    return 1 if allowed else -1


cdef public int __wrap_kill(int pid, int number) noexcept nogil:
    return 0


# --- cgroup ---------------------------------------------------------------------------------

cdef bint lists(const char* words, const char* end, const char* word) noexcept nogil:
    """Whether a comma-separated list has the word; the empty word stands for an empty list."""
    cdef const char* comma
    cdef size_t size
    if word[0] == 0:
        return words == end
    while True:
        comma = <const char*>memchr(words, c",", end - words)
        size = (comma if comma != NULL else end) - words
        if size == strlen(word) and memcmp(words, word, size) == 0:
            return True
        if comma == NULL:
            return False
        words = comma + 1


cdef const char* plain_cgroup(
        const char* line, const char* end, const char* controller, size_t* size) noexcept nogil:
    """The path in the first line of the controller, and its size; NULL."""
    cdef const char* newline
    cdef const char* first
    cdef const char* second
    while line < end:
        newline = <const char*>memchr(line, c"\n", end - line)
        if newline == NULL:
            return NULL
        first = <const char*>memchr(line, c":", newline - line)
        second = NULL
        if first != NULL:
            second = <const char*>memchr(first + 1, c":", newline - first - 1)
        if second != NULL and lists(first + 1, second, controller):
            size[0] = newline - second - 1
            return second + 1
        line = newline + 1
    return NULL


cdef void check_cgroup(const char* controller) noexcept nogil:
    cdef size_t size = 0
    cdef size_t seen = strnlen(content, min(content_size, <size_t>CGROUP_TEXT - 1))
    cdef const char* right = plain_cgroup(content, content + seen, controller, &size)
    cdef const char* found = cgroup_path(42, controller, text)
    if absent:
        hold(found == NULL, b"no file has no path")
        return
    hold((found == NULL) == (right == NULL), b"the controller's line is found")
    if found != NULL:
        hold(strlen(found) == size and memcmp(found, right, size) == 0, b"its path is found")


# --- memory.events, memory.oom_control ------------------------------------------------------

cdef void check_memory() noexcept nogil:
    cdef size_t seen = strnlen(content, min(content_size, <size_t>CGROUP_TEXT - 1))
    cdef char* copy = <char*>malloc(seen + 1)
    cdef const char* line = copy
    cdef int64_t right = -1
    memcpy(copy, content, seen)
    copy[seen] = 0
    while line != NULL and right == -1:
        if strlen(line) >= 9 and memcmp(line, b"oom_kill ", 9) == 0:
            right = strtoll(line + 9, NULL, 10)
            break
        line = <const char*>memchr(line, c"\n", copy + seen - line)
        if line != NULL:
            line += 1
    hold(count_kills(FILE, text) == right, b"the kills are counted")
    free(copy)


# --- stat -----------------------------------------------------------------------------------

cdef int plain_fields(const char* text, size_t size, const char** fields) noexcept nogil:
    """Where the fields from the third on begin, as many as there are; 0: none."""
    cdef size_t at = size
    cdef int count = 0
    while at and text[at - 1] != c")":
        at -= 1
    if at == 0 or at >= size or text[at] != c" ":
        return 0
    while at < size and count < FIELDS:
        if text[at] == c" ":
            fields[count] = text + at + 1
            count += 1
        at += 1
    return count


cdef void check_stat() noexcept nogil:
    """A status is believed only of a zombie, and only with the whole file."""
    cdef const char* fields[FIELDS]
    cdef size_t seen = strnlen(content, min(content_size, <size_t>STAT_TEXT - 1))
    cdef char* copy = <char*>malloc(seen + 1)
    cdef uint64_t began = 0
    cdef uint64_t right
    cdef int count, status
    cdef bint lives
    memcpy(copy, content, seen)
    copy[seen] = 0
    count = plain_fields(copy, seen, fields)
    status = status_of_zombie(42)
    if status >= 0:
        hold(count >= 50 and fields[0][0] == c"Z", b"only a zombie has a status")
        hold(memchr(fields[49], c"\n", strlen(fields[49])) != NULL
             or count > 50, b"the status is there as a whole")
        hold(status > 0 or allowed, b"a 0 that may mean that we may not know is none")
    lives = stranger_lives(42, &began)
    if not count or absent:
        hold(lives and began == 0, b"what cannot be read tells nothing")
    else:
        right = strtoull(fields[19], NULL, 10) if count > 19 else 0
        hold(began == right, b"the start time is the 22nd field")
        hold(lives == (fields[0][0] != c"Z" and fields[0][0] != c"X"), b"a zombie does not live")
    free(copy)


cdef public int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) noexcept nogil:
    global content, content_size, absent, allowed
    cdef Feed feed = feed_begin(data, size)
    cdef int which = feed_number(&feed)
    absent = which >= 0xf8
    allowed = which & 4 != 0
    content = feed.data
    content_size = feed.size
    if which % 4 == 0:
        check_cgroup(b"memory")
    elif which % 4 == 1:
        check_cgroup(b"")
    elif which % 4 == 2:
        check_memory()
    else:
        check_stat()
    return 0
