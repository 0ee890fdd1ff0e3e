"""What containers are: command lines of runtimes and monitors, bundles, states of runtimes.

Imports conmon.host, and conmon.options for a monitor's command line.
"""
