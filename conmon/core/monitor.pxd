"""The monitor life: from the record to the container's end, then on to the finish life."""

from libc.errno cimport ECHILD, errno
from libc.string cimport memset

from conmon.core.buffers cimport (
    buffer_chunk, buffer_input, buffer_log, buffers_give_back,
)
from conmon.core.attach cimport (
    accept_last, accept_waiting, clients_free_retired, on_listener, on_patience, on_stdin,
)
from conmon.core.closefds cimport close_all_but
from conmon.core.control cimport control_take_early, on_lines
from conmon.core.counters cimport record_publish
from conmon.core.deliver cimport clients_deliver, clients_fds, clients_release
from conmon.core.farewell cimport listener_close
from conmon.core.journal cimport journal_give_back, journal_open
from conmon.core.journalend cimport journal_deliver, journal_finish
from conmon.core.kernel cimport (
    EPOLLIN, SIGPIPE, SIGTERM, SIGXFSZ, SIG_BLOCK, SIG_DFL, SIG_IGN, WNOHANG,
    c_signal, close, pid_t, pread, sigprocmask, sigset_t, waitpid,
)
from conmon.core.logfile cimport log_open
from conmon.core.logsync cimport log_sync
from conmon.core.logwrite cimport log_finish, log_flush
from conmon.core.loop cimport dispatch, loop_end, source_close, source_init, watch
from conmon.core.notify cimport notify_close, notify_drain, on_notify
from conmon.core.oom cimport oom_check, oom_open
from conmon.core.passed cimport leave_to_child
from conmon.core.reaper cimport (
    container_ended, exit_code_of, monitor_signals, on_pidfd, on_signals, on_timeout, reap,
    stranger_watch,
)
from conmon.core.record cimport (
    FINISH_FDS, Leave, Record, record_finish_fds, record_forget_fds,
)
from conmon.core.sandbox cimport forgo_privileges
from conmon.core.state cimport CHUNK, CLIENTS_AT_END, Monitor
from conmon.core.streams cimport (
    forward, on_coalesced, on_stream, stream_drain, stream_narrow, streams_arm,
)
from conmon.core.timer cimport timer_set, timers_left, timers_run

cdef enum:
    KEEP_BUFFERS = 4096    # bytes of each buffer that may stay dirty: one page
    IDLE_AFTER = 20        # ms without an event until memory is given back
    LEAVE_AFTER = 20       # ms until what the launch life has left is given back


cdef inline void block_signals() noexcept nogil:
    """Take the signals through the signalfd; SIGPIPE and SIGXFSZ become errors of write().

    The launch life's handler of SIGTERM goes: nothing of that life is to be run any more.
    """
    cdef sigset_t set
    monitor_signals(&set)
    sigprocmask(SIG_BLOCK, &set, NULL)
    c_signal(SIGTERM, SIG_DFL)
    c_signal(SIGPIPE, SIG_IGN)
    c_signal(SIGXFSZ, SIG_IGN)


cdef inline void monitor_open(Monitor* m, Record* record) noexcept nogil:
    """Set the struct up from the record. All that can fail was done before the container ran."""
    memset(m, 0, sizeof(Monitor))
    m.record = record
    m.running = True
    m.epoll = record.epoll_fd
    m.chunk = buffer_chunk
    m.log.buffer = buffer_log
    m.input.buffer = buffer_input
    log_open(m)
    m.out.tag = 2
    m.err.tag = 3
    m.out.terminal = record.terminal
    source_init(&m.out.source, record.stdout_fd, on_stream)
    source_init(&m.err.source, record.stderr_fd, on_stream)
    source_init(&m.input.source, record.stdin_fd, on_stdin)
    source_init(&m.listener, record.attach_fd, on_listener)
    source_init(&m.ctl.source, record.ctl_fd, on_lines)
    source_init(&m.winsz.source, record.winsz_fd, on_lines)
    source_init(&m.pidfd, -1, on_pidfd)
    source_init(&m.notify.source, record.notify_fd, on_notify)
    source_init(&m.signals, record.signal_fd, on_signals)
    m.patience.handle = on_patience
    journal_open(m)


cdef inline void monitor_wind_down(Monitor* m) noexcept nogil:
    """Wait for nothing more, and give memory back: before the forks, whose children would have it.

    Clients, journal and log are still there for those.
    """
    notify_close(m)
    loop_end(m)
    buffers_give_back(True)


cdef inline void find_container(Monitor* m) noexcept nogil:
    """See whether the container is our child, of whose end a signal tells."""
    cdef int status
    cdef pid_t pid
    if m.record.ended:  # while the runtime ran, whose life has reaped it
        m.running = False
        return
    pid = waitpid(m.record.container_pid, &status, WNOHANG)
    if pid > 0:
        container_ended(m, exit_code_of(status))
    elif pid < 0 and errno == ECHILD:
        stranger_watch(m)
    reap(m)


cdef inline void monitor_arm(Monitor* m) noexcept nogil:
    """Wait for every source that there is.

    The listener is first: epoll hands out what is ready in that order, and a client that came
    before the container's output must get it.
    """
    watch(m, &m.listener, EPOLLIN)
    streams_arm(m)
    watch(m, &m.ctl.source, EPOLLIN)
    watch(m, &m.winsz.source, EPOLLIN)
    watch(m, &m.signals, EPOLLIN)
    watch(m, &m.pidfd, EPOLLIN)
    watch(m, &m.notify.source, EPOLLIN)


cdef inline void forward_held(Monitor* m) noexcept nogil:
    """Forward what was written while the runtime still ran; it comes before all else."""
    cdef Record* record = m.record
    cdef long at = 0
    cdef long whole = record.held_stdout_size + record.held_stderr_size
    cdef long end
    cdef ssize_t n
    while record.held_fd >= 0 and at < whole:
        end = record.held_stdout_size if at < record.held_stdout_size else whole
        n = pread(record.held_fd, m.chunk, min(<long>CHUNK, end - at), at)
        if n <= 0:
            break
        forward(m, 2 if at < record.held_stdout_size else 3, m.chunk, n)
        at += n
    log_flush(m)
    if record.held_fd >= 0:
        close(record.held_fd)
        record.held_fd = -1


cdef inline void give_buffers_back(Monitor* m) noexcept nogil:
    """After a burst the pages go back to the kernel; one page of each buffer may stay."""
    buffers_give_back(m.input.pending == NULL)
    journal_give_back(m)
    stream_narrow(&m.out)
    stream_narrow(&m.err)
    m.touched = 0


cdef inline void leave_launch(Monitor* m) noexcept nogil:
    """Give back what the launch life has left."""
    m.leave()
    m.leave = NULL


cdef inline void run(Monitor* m) noexcept nogil:
    """Until the container has ended. Idle, this sleeps for good: no timer is set then."""
    cdef int idle, happened
    while m.running:
        idle = IDLE_AFTER if m.touched > KEEP_BUFFERS and m.coalesced == NULL else -1
        happened = dispatch(m, timers_left(m, idle))
        if happened < 0:
            reap(m)
        if happened == 0 and idle >= 0:
            give_buffers_back(m)
        timers_run(m)
        clients_free_retired(m)
        streams_arm(m)


cdef inline void monitor_finish(Monitor* m) noexcept nogil:
    """The end in C17's order, up to the finish life."""
    cdef Record* record = m.record
    cdef int keep[CLIENTS_AT_END + 3 + FINISH_FDS]
    cdef int count, gate
    cdef int held = -1
    oom_check(m)
    notify_drain(m)
    accept_last(m)
    if not record.timed_out:
        stream_drain(m, &m.out)
        stream_drain(m, &m.err)
    elif m.coalesced != NULL:
        on_coalesced(m)  # what would have been logged by now
    source_close(m, &m.out.source)
    source_close(m, &m.err.source)
    log_finish(m)
    journal_finish(m)
    clients_release(m)
    listener_close(m.listener.fd)
    monitor_wind_down(m)
    # Only what the finish life needs goes on. The caller's own fds, published ports among them,
    # are closed here too: they must be free before anybody sees the exit (C17.6). And before the
    # forks: a child would hold them for a moment longer.
    if m.notify.unread:
        gate = leave_to_child(m.notify.source.fd)
        if gate >= 0:
            source_close(m, &m.notify.source)
            close(gate)
        else:  # to close it may take as long as who passed fds likes: not before the exit files
            held = m.notify.source.fd
    count = clients_fds(m, keep)
    if held >= 0:
        keep[count] = held
        count += 1
    keep[count] = m.log.fd
    keep[count + 1] = m.journal.source.fd
    count += 2 + record_finish_fds(record, keep + count + 2)
    close_all_but(keep, count)
    clients_deliver(m)
    journal_deliver(m)
    log_sync(m)
    count = record_finish_fds(record, keep)
    if held >= 0:
        keep[count] = held
        count += 1
    close_all_but(keep, count)
    record_forget_fds(record)


cdef inline Record* monitor_main(Record* record, Leave leave) noexcept nogil:
    """The monitor life, whole; the record, which has moved, for the finish life."""
    cdef Monitor m
    block_signals()
    record = record_publish(record)
    monitor_open(&m, record)
    m.leave = leave
    if leave != NULL:
        # Not at once: a session that ends before then needs it again for its finish life.
        timer_set(&m, &m.leaving, leave_launch, LEAVE_AFTER)
    find_container(&m)
    # nothing of what others choose has been read so far
    forgo_privileges(&m)
    oom_open(&m)
    accept_waiting(&m)
    monitor_arm(&m)
    if record.timeout_ms > 0:
        timer_set(&m, &m.timeout, on_timeout, record.timeout_ms)
    control_take_early(&m)
    forward_held(&m)
    run(&m)
    monitor_finish(&m)
    return record
