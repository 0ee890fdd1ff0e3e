"""A container process that writes at a steady pace and times each write: paced.py GO MB PAUSE_S OUT

Writes are of 16,000 bytes in lines of 100. OUT gets a line of numbers: how many writes there were,
then the median, 99th and 99.9th percentile and the longest of their times, in ms.
"""

import os
import sys
import time
from array import array

go, megabytes, pause, out = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
data = (b"x" * 99 + b"\n") * 160
times = array("q")
clock = time.perf_counter_ns
with open(go, "rb", buffering=0) as fifo:
    fifo.read(1)
for _ in range(megabytes * 1_000_000 // len(data)):
    begin = clock()
    os.write(1, data)
    times.append(clock() - begin)
    time.sleep(pause)
ordered = sorted(times)
places = [ordered[int(part * (len(ordered) - 1))] / 1e6 for part in (0.5, 0.99, 0.999, 1)]
with open(out, "w") as file:
    print(len(ordered), *places, file=file)
