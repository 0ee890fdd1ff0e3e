"""Containers as they start and end anywhere on the host: ContainerNotifier and its helper process.

Imports conmon.host and conmon.oci. `notifier` is the public face, `helper` the other process.
"""
