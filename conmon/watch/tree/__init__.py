"""The live process tree of every container: what it is told, keeps, and tells.

Imports conmon.host and conmon.oci; where its events come from it does not know.
"""
