"""The container's stdin: what attach clients send, without ever blocking on the pipe."""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcpy

from conmon.core.buffers cimport buffers_touch
from conmon.core.kernel cimport EPOLLOUT, write
from conmon.core.loop cimport source_close, watch
from conmon.core.state cimport Monitor


cdef inline void stdin_forget(Monitor* m) noexcept nogil:
    """Nothing is pending any more: the buffer can be given back to the kernel."""
    if m.input.pending != NULL:
        buffers_touch(m, m.input.size)
    m.input.pending = NULL


cdef inline void stdin_close(Monitor* m) noexcept nogil:
    source_close(m, &m.input.source)
    m.record.stdin_fd = -1
    stdin_forget(m)


cdef inline ssize_t stdin_write(Monitor* m, const char* data, size_t size) noexcept nogil:
    """Write what the pipe takes; the bytes taken. A container that closed its end takes all."""
    cdef size_t done = 0
    cdef ssize_t n
    while done < size:
        n = write(m.input.source.fd, data + done, size - done)
        if n >= 0:
            done += n
        elif errno == EAGAIN:
            break
        elif errno != EINTR:
            stdin_close(m)
            return size
    return done


cdef inline void stdin_put(Monitor* m, const char* data, size_t size) noexcept nogil:
    """Forward one packet. While `pending` is set, no more may be put."""
    cdef size_t done
    if m.input.source.fd < 0:
        return
    done = stdin_write(m, data, size)
    if done == size:
        return
    m.input.pending = m.input.buffer
    memcpy(m.input.pending, data + done, size - done)
    m.input.size = size - done
    m.input.done = 0
    watch(m, &m.input.source, EPOLLOUT)


cdef inline void stdin_end(Monitor* m) noexcept nogil:
    """Close the container's stdin, after what is pending."""
    m.input.closing = True
    if m.input.pending == NULL:
        stdin_close(m)


cdef inline bint stdin_flush(Monitor* m) noexcept nogil:
    """Write what is pending; True once nothing is."""
    cdef ssize_t taken = stdin_write(
        m, m.input.pending + m.input.done, m.input.size - m.input.done)
    if m.input.source.fd < 0:
        return True
    m.input.done += taken
    if m.input.done < m.input.size:
        return False
    stdin_forget(m)
    watch(m, &m.input.source, 0)
    if m.input.closing:
        stdin_close(m)
    return True
