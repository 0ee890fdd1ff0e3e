"""A container process that writes lines with their time: stamped.py GO COUNT PER_SECOND DELAY_S

Each line of 100 bytes begins with CLOCK_REALTIME in ns before it is written. The first comes
DELAY_S after the go: of many containers not all write at the same moment.
"""

import os
import sys
import time

go, count, per_second, delay = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
with open(go, "rb", buffering=0) as fifo:
    fifo.read(1)
begin = time.monotonic() + delay
for number in range(count):
    left = begin + number / per_second - time.monotonic()
    if left > 0:
        time.sleep(left)
    os.write(1, b"%-99d\n" % time.time_ns())
