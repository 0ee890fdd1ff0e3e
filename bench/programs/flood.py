"""A container process that writes lines as fast as they are taken: flood.py GO LENGTH COUNT

It begins when somebody has written a line to the fifo GO. It writes from memory, 1 MB and less at
a time, so that whoever reads has the longer work.
"""

import os
import sys

go, length, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
line = b"x" * (length - 1) + b"\n"
at_once = max(1, 1_000_000 // length)
data = line * at_once
with open(go, "rb", buffering=0) as fifo:
    fifo.read(1)
left = count
while left:
    part = data if left >= at_once else line * left
    done = os.write(1, part)
    while done < len(part):  # never with a pipe; a terminal takes what it has room for
        done += os.write(1, part[done:])
    left -= len(part) // length
