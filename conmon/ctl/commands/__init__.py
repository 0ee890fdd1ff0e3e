"""The commands of conmonctl, a module each, which conmon.ctl.app imports when it is called for.

They import what they share from conmon.ctl, and nothing from each other.
"""
