"""A plugin for tests of what was built with sanitizers: `make check-sanitized`.

A report fails the test that caused it, also where it came from a process without a stderr. Tests
that measure memory or processor time, or need a limit of memory, are left out: with sanitizers a
process has terabytes of shadow memory and does twice the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

REPORTS = Path(__file__).resolve().parent.parent / "build" / "sanitized" / "reports"
# What a test's name begins with, from the directory of tests on; and why it is left out.
LEFT_OUT = {
    "contract/test_c17_stuck.py::test_little_memory": "no address space can be too small",
    "contract/test_c18_journald.py::test_memory_and_wake_ups": "memory is measured",
    "contract/test_c20_late_failure.py::test_call_that_fails[close": "AddressSanitizer's fail too",
    "contract/test_idle": "memory is measured",
    "contract/test_linger.py::test_after_": "memory is measured",
    "contract/test_many.py": "memory is measured, and 2,000 shadows are too many",
    "core/test_rotate_killed.py::test_killed_at_every_system_call": "takes minutes, for the starts",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name, reason in LEFT_OUT.items():
            if item.nodeid.startswith(f"tests/{name}"):
                item.add_marker(pytest.mark.skip(reason=f"with sanitizers: {reason}"))


@pytest.fixture(autouse=True)
def _no_report() -> Iterator[None]:
    """After the test has ended all that it started: nothing was reported."""
    yield
    reports = sorted(REPORTS.iterdir())
    text = "\n".join(path.read_text(errors="replace") for path in reports)
    for path in reports:
        path.unlink()
    assert not text, text
