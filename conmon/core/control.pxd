"""The ctl and winsz fifos (C13): lines of numbers from podman, CRI-O and conmonctl.

ctl: `1 H W` resizes the terminal, `2 0 0` reopens the log. winsz: `H W`. A line ends with a
newline and has at most 199 bytes before it; a longer one is skipped up to its newline.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t
from libc.stdlib cimport strtol
from libc.string cimport memchr, memcpy, memmove, memset, strerror, strlen

from conmon.core.diag cimport LEVEL_WARNING, say, say_errno
from conmon.core.kernel cimport TIOCSWINSZ, ioctl, read, snprintf, winsize
from conmon.core.logfile cimport log_reopen
from conmon.core.loop cimport source_close
from conmon.core.record cimport record_text
from conmon.core.state cimport LINE_LIMIT, Lines, Monitor, Source

cdef enum:
    SIZE_LIMIT = 1000  # rows or columns

cdef enum Command:
    COMMAND_RESIZE = 1
    COMMAND_REOPEN = 2


cdef inline int parse_numbers(const char* line, int* numbers, int wanted) noexcept nogil:
    """The leading decimal numbers of a line, at most `wanted`; how many there are."""
    cdef int count = 0
    cdef char* end
    cdef long number
    while count < wanted:
        number = strtol(line, &end, 10)
        if end == line:
            break
        # out of int's range is out of every range that follows
        numbers[count] = <int>number if -(1 << 30) < number < (1 << 30) else -1
        count += 1
        line = end
    return count


cdef inline bint size_in_range(int rows, int columns) noexcept nogil:
    return 0 <= rows <= SIZE_LIMIT and 0 <= columns <= SIZE_LIMIT


cdef inline bint parse_resize(const char* line, bint is_ctl, int* size) noexcept nogil:
    """Whether a line of ctl, or of winsz, is a resize that can be done; its rows and columns."""
    cdef int numbers[3]
    cdef int first = 1 if is_ctl else 0
    if parse_numbers(line, numbers, first + 2) < first + 2:
        return False
    if is_ctl and numbers[0] != COMMAND_RESIZE:
        return False
    size[0] = numbers[first]
    size[1] = numbers[first + 1]
    return size_in_range(size[0], size[1])


cdef inline int set_terminal_size(int fd, int rows, int columns) noexcept nogil:
    """0 or -errno."""
    cdef winsize size
    memset(&size, 0, sizeof(size))
    size.ws_row = rows
    size.ws_col = columns
    return -errno if ioctl(fd, TIOCSWINSZ, &size) < 0 else 0


cdef inline bint size_valid(Monitor* m, int rows, int columns) noexcept nogil:
    cdef char text[128]
    if size_in_range(rows, columns):
        return True
    snprintf(
        text, sizeof(text), b"Invalid window size: %dx%d (must be between 0 and 1000)",
        rows, columns)
    say(m.record, LEVEL_WARNING, text)
    return False


cdef inline void resize(Monitor* m, int rows, int columns) noexcept nogil:
    """Tell the terminal its size; without one there is nothing to do."""
    cdef int failure
    if not m.out.terminal or m.out.source.fd < 0:
        return
    failure = set_terminal_size(m.out.source.fd, rows, columns)
    if failure:
        say_errno(m.record, LEVEL_WARNING, b"Failed to set the terminal size", strerror(-failure))


cdef inline bint ctl_line(Monitor* m, const char* line) noexcept nogil:
    """Do what the line asks for; True if the log is to be reopened, which the caller does."""
    cdef int numbers[3]
    cdef char text[64]
    if parse_numbers(line, numbers, 3) < 3:
        say(m.record, LEVEL_WARNING, b"Invalid control message format")
    elif not size_valid(m, numbers[1], numbers[2]):
        pass
    elif numbers[0] == COMMAND_RESIZE:
        resize(m, numbers[1], numbers[2])
    elif numbers[0] == COMMAND_REOPEN:
        return True
    else:
        snprintf(text, sizeof(text), b"Invalid control message type: %d", numbers[0])
        say(m.record, LEVEL_WARNING, text)
    return False


cdef inline void winsz_line(Monitor* m, const char* line) noexcept nogil:
    cdef int numbers[2]
    if parse_numbers(line, numbers, 2) < 2:
        say(m.record, LEVEL_WARNING, b"Failed to parse window size")
    elif size_valid(m, numbers[0], numbers[1]):
        resize(m, numbers[0], numbers[1])


cdef inline void lines_take(Monitor* m, Lines* lines, bint is_ctl) noexcept nogil:
    """Handle every whole line of the buffer and keep the rest.

    Several requests to reopen the log that were read together cause one reopening, after the last
    of them: each caller only waits for a reopening after its own request.
    """
    cdef bint reopen = False
    cdef char* start = lines.buffer
    cdef char* end = lines.buffer + lines.used
    cdef char* newline = <char*>memchr(start, c"\n", end - start)
    while newline != NULL:
        newline[0] = c"\0"
        if lines.skipping:
            lines.skipping = False
        elif is_ctl:
            reopen |= ctl_line(m, start)
        else:
            winsz_line(m, start)
        start = newline + 1
        newline = <char*>memchr(start, c"\n", end - start)
    if reopen:
        log_reopen(m)
    lines.used = end - start
    memmove(lines.buffer, start, lines.used)
    if lines.used == LINE_LIMIT:
        if not lines.skipping:
            say(m.record, LEVEL_WARNING, b"Could not find newline in entire buffer")
        lines.skipping = True
        lines.used = 0


cdef inline void lines_take_early(Monitor* m, Lines* lines, const char* text) noexcept nogil:
    """Take what the launch life has read from the fifo and kept for us; NULL is nothing."""
    cdef size_t left = 0 if text == NULL else strlen(text)
    cdef size_t n
    while left > 0:
        n = min(left, LINE_LIMIT - lines.used)
        memcpy(lines.buffer + lines.used, text, n)
        lines.used += n
        text += n
        left -= n
        lines_take(m, lines, lines == &m.ctl)


cdef inline void control_take_early(Monitor* m) noexcept nogil:
    lines_take_early(m, &m.ctl, record_text(m.record, m.record.ctl_early))
    lines_take_early(m, &m.winsz, record_text(m.record, m.record.winsz_early))


cdef inline void on_lines(Monitor* m, Source* source, uint32_t events) noexcept nogil:
    cdef Lines* lines = <Lines*>source
    cdef ssize_t n = read(source.fd, lines.buffer + lines.used, LINE_LIMIT - lines.used)
    if n > 0:
        lines.used += n
        lines_take(m, lines, lines == &m.ctl)
    elif n == 0 or (errno != EAGAIN and errno != EINTR):
        source_close(m, source)
