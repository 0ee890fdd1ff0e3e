"""conmonctl, the tool for people who look at conmon's monitors.

Ordinary Python beside the monitor, never in it: it needs click and rich (`conmon[ctl]`). What a
monitor is, is read from /proc; a monitor is not disturbed by being looked at.
"""
