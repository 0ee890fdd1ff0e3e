"""The rows of the table: one module for each kind of work, in the order they are run."""

from __future__ import annotations

from bench.bench import Row
from bench.rows import (
    attach_reader,
    attach_stuck,
    crowd,
    exec_cpu,
    idle,
    instructions,
    journald,
    k8s_file,
    latency,
    lockstep,
    many,
    no_log,
    null_device,
    placement,
    podman,
    rotation,
    steady,
    terminal,
    version,
    wake_ups,
)

_MODULES = (
    version,
    latency,
    podman,
    exec_cpu,
    k8s_file,
    null_device,
    placement,
    lockstep,
    steady,
    no_log,
    journald,
    terminal,
    attach_reader,
    attach_stuck,
    rotation,
    idle,
    many,
    crowd,
    wake_ups,
    instructions,
)
ROWS: list[Row] = [row for module in _MODULES for row in module.ROWS]
