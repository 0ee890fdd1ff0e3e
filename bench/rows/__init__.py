"""The rows of the table: one module for each kind of work, in the order they are run."""

from __future__ import annotations

from bench.bench import Row
from bench.rows import k8s_file, latency

ROWS: list[Row] = [*latency.ROWS, *k8s_file.ROWS]
