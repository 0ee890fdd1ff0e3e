"""A container process that writes lines one by one: lockstep.py GO LENGTH COUNT

The next line is written when the reader of the pipe has taken the last one, so that each costs
the reader a wake-up. Waiting is a loop on FIONREAD (ioctl_pipe), which costs only this process.
"""

import fcntl
import os
import sys
import termios

go, length, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
line = b"x" * (length - 1) + b"\n"
unread = bytearray(4)
nothing = bytes(4)
with open(go, "rb", buffering=0) as fifo:
    fifo.read(1)
for _ in range(count):
    os.write(1, line)
    fcntl.ioctl(1, termios.FIONREAD, unread)
    while unread != nothing:
        os.sched_yield()
        fcntl.ioctl(1, termios.FIONREAD, unread)
