"""Where events of processes come from: the kernel's process connector, or its audit system.

Imports conmon.host, and from conmon.watch.tree what events are.
"""
