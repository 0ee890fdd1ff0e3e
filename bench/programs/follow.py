"""Reads what is written to a log, as `tail -f` does, by inotify(7): follow.py LOG

Says "ready" on stdout, and ends when it is told to.
"""

import ctypes
import os
import sys

IN_MODIFY = 2
libc = ctypes.CDLL(None)
events = libc.inotify_init1(os.O_CLOEXEC)
log = os.open(sys.argv[1], os.O_RDONLY)
libc.inotify_add_watch(events, sys.argv[1].encode(), IN_MODIFY)
os.write(1, b"ready\n")
while True:
    while os.read(log, 65536):
        pass
    os.read(events, 4096)
