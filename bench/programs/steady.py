"""A container process that writes lines at a steady pace: steady.py GO LENGTH COUNT PER_SECOND"""

import os
import sys
import time

go, length, count, per_second = sys.argv[1], *map(int, sys.argv[2:5])
line = b"x" * (length - 1) + b"\n"
with open(go, "rb", buffering=0) as fifo:
    fifo.read(1)
begin = time.monotonic()
for number in range(count):
    left = begin + number / per_second - time.monotonic()
    if left > 0:
        time.sleep(left)
    os.write(1, line)
