"""What Linux tells and does, for conmon.oci, conmon.watch and conmon.ctl: /proc, inotify, pidfds.

Imports nothing of conmon.
"""
