"""A plugin for tests of what was built with sanitizers: `make check-sanitized`.

A report fails the test after which it is there, also where it came from a process without a
stderr. Tests that measure memory or processor time, or need a limit of memory, are left out: with
sanitizers a process has terabytes of shadow memory and does twice the work.
"""

from __future__ import annotations

import contextlib
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
    "contract/test_inherited.py": "AddressSanitizer sets a limit of its own: RLIMIT_CORE",
    "contract/test_linger.py::test_after_": "memory is measured",
    "contract/test_many.py": "memory is measured, and 2,000 shadows are too many",
    "contract/test_quotas.py::test_few_fds_before_the_start[3]": "the loader needs one",
    "contract/test_sandbox.py": "AddressSanitizer's own calls and files leave no room for it",
    "core/test_rotate_killed.py::test_killed_at_every_system_call": "takes minutes, for the starts",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name, reason in LEFT_OUT.items():
            if item.nodeid.startswith(f"tests/{name}"):
                item.add_marker(pytest.mark.skip(reason=f"with sanitizers: {reason}"))


def reported() -> str:
    """What the reports say that are there, and takes them away. One that is begun is left."""
    texts = []
    for path in sorted(REPORTS.iterdir()):
        with contextlib.suppress(FileNotFoundError):  # another worker was quicker
            if text := path.read_text(errors="replace"):
                path.unlink()
                texts.append(text)
    return "\n".join(texts)


@pytest.fixture(autouse=True)
def _no_report() -> Iterator[None]:
    """After the test has ended all that it started: nothing was reported.

    With several workers it may have been a test of another one; the report's stack tells.
    """
    yield
    assert not (text := reported()), text


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Nothing is left that no test has taken."""
    if not hasattr(session.config, "workerinput") and any(REPORTS.iterdir()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"reports are left:\n{reported() or sorted(REPORTS.iterdir())}")
