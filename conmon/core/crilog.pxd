"""The k8s-file record, as CRI defines it for container logs (C8):

    YYYY-MM-DDThh:mm:ss.nnnnnnnnn+hh:mm stdout F data\n

local time, `stdout` or `stderr`, F for a full line or P for a piece without its newline. All
that is formatted here is the 45-byte header; the date is made anew once per second only.
"""

from libc.string cimport memcpy

from conmon.core.kernel cimport CLOCK_REALTIME, clock_gettime, localtime_r, timespec, tm
from conmon.core.state cimport HEADER, TAG_AT, Log


cdef inline void put_digits(char* out, long value, int count) noexcept nogil:
    """Write `value` with exactly `count` decimal digits."""
    while count > 0:
        count -= 1
        out[count] = <char>(c"0" + value % 10)
        value //= 10


cdef inline void put_date(char* out, const tm* local) noexcept nogil:
    """Write the 35 bytes of a timestamp, with zeros for the nanoseconds."""
    cdef long offset = local.tm_gmtoff // 60
    memcpy(out, b"0000-00-00T00:00:00.000000000+00:00", 35)
    put_digits(out, local.tm_year + 1900, 4)
    put_digits(out + 5, local.tm_mon + 1, 2)
    put_digits(out + 8, local.tm_mday, 2)
    put_digits(out + 11, local.tm_hour, 2)
    put_digits(out + 14, local.tm_min, 2)
    put_digits(out + 17, local.tm_sec, 2)
    if offset < 0:
        out[29] = c"-"
        offset = -offset
    put_digits(out + 30, offset // 60, 2)
    put_digits(out + 33, offset % 60, 2)


cdef inline void header_set(Log* log, char tag) noexcept nogil:
    """Make `log.header` that of a full record of this moment, for stream 2 or 3."""
    cdef timespec now
    cdef tm local
    clock_gettime(CLOCK_REALTIME, &now)
    if now.tv_sec != log.second:
        log.second = now.tv_sec
        localtime_r(&now.tv_sec, &local)
        put_date(log.header, &local)
    put_digits(log.header + 20, now.tv_nsec, 9)
    if tag == 2:
        memcpy(log.header + 35, b" stdout F ", 10)
    else:
        memcpy(log.header + 35, b" stderr F ", 10)


cdef inline size_t put_record(
        char* out, const char* header, const char* data, size_t size, bint partial) noexcept nogil:
    """Write one record; its size. A full record's data ends with its own newline."""
    memcpy(out, header, HEADER)
    memcpy(out + HEADER, data, size)
    if not partial:
        return HEADER + size
    out[TAG_AT] = c"P"
    out[HEADER + size] = c"\n"
    return HEADER + size + 1
