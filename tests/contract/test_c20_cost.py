"""C20.15: what a chunk of output costs, in system calls of the monitor."""

from __future__ import annotations

import os
import re
import shutil

import pytest
from harness import Container
from harness_proc import settled
from harness_terminal import with_terminal

STEPS = 30
FIRST = 5  # with the chunks before it comes what a start costs
CALLS_PER_CHUNK = 3  # wait, read, write
ENDS_OF_LINES = "a terminal there gives the end of a line later than the line"


@pytest.mark.ours("GLib's loop needs some 6 system calls for a chunk (C20.15)")
@pytest.mark.parametrize(
    "terminal",
    [
        pytest.param(False, id="pipes"),
        pytest.param(True, id="terminal", marks=pytest.mark.real_processor(ENDS_OF_LINES)),
    ],
)
def test_system_calls(container: Container, terminal: bool) -> None:
    """C20.15: each chunk is waited for, read and logged: three system calls, no more."""
    if shutil.which("strace") is None:
        assert "CI" not in os.environ, "strace is missing"
        pytest.skip("system calls are counted by strace, which is not installed")
    script = f"for i in $(seq {STEPS}); do read -r _ <go; echo line$i; done; read -r _ <go"
    go = container.fifo("go")
    if terminal:
        with_terminal(container, script)
    else:
        container.command(script)
    trace = container.root / "run" / "trace"
    container.allow("run/trace")
    container.launch(
        wrapper=["strace", "-D", "-f", "-qq", "-s", "99", "-e", "signal=none", "-o", str(trace)]
    )
    container.started()
    monitor = container.monitor.pid
    fd = os.open(go, os.O_RDWR | os.O_CLOEXEC)
    container.on_close(lambda: os.close(fd))
    for step in range(1, STEPS + 1):
        os.write(fd, b"\n")
        # a terminal may give the end of a line later than the line
        container.wait_log(b" line%d" % step if terminal else b" line%d\n" % step)
        settled(monitor)  # so that no two chunks are read as one
    os.write(fd, b"\n")
    assert container.end() == 0
    text = trace.read_text(errors="replace")
    calls = re.findall(rf"^{monitor} +(\w+\(.*)", text, re.MULTILINE)
    writes = [at for at, call in enumerate(calls) if re.match(r"writev?\(.*\bline\d+", call)]
    assert len(writes) == STEPS
    first, last = writes[FIRST], writes[-1]
    between = calls[first + 1 : last + 1]
    chunks = STEPS - 1 - FIRST + (1 if terminal else 0)
    assert len(between) <= CALLS_PER_CHUNK * chunks, between[:12]
