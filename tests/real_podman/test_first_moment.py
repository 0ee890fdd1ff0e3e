"""podman exec -it: what the command finds on its terminal in its first moment. Asked once.

No runtime waits until its terminal was taken. Under crun it is not even the process that becomes
the command that sends it, so that one may look first, with any conmon. runc's has a few
milliseconds of work to do in between; a machine may be busy for longer than that, so half of the
sessions must be right here. tests/contract/test_c21_terminal.py makes the runtime wait, and wants
all.
"""

import pytest

from .bed import IMAGE
from .client import Podman
from .terminal import Terminal

TRIES = 10


def sessions(podman: Podman, script: str) -> list[bytes]:
    """What some sessions show, one after the other, on a terminal of 31 rows and 97 columns."""
    if podman.runtime != "runc":
        pytest.skip("the command of this runtime may look before any conmon has the terminal")
    box = podman.run_detached(IMAGE, "sleep", "1000")
    shown = []
    for _ in range(TRIES):
        command = ("exec", "-it", box, "sh", "-c", script)
        with Terminal(podman, *command, rows=31, columns=97) as terminal:
            code, data = terminal.end()
        assert code == 0, data
        shown.append(data)
    return shown


def test_size_and_newlines(podman: Podman) -> None:
    """C21.1, C13: the caller's size, and newlines turned into CR LF, before anything else."""
    shown = sessions(podman, "stty size; stty -a | grep -o -e '-*onlcr'")
    assert shown.count(b"31 97\r\nonlcr\r\n") >= TRIES // 2, shown


def test_settings_of_the_command_stay(podman: Podman) -> None:
    """C21.1, C13: what the command sets itself is not undone a moment later."""
    shown = sessions(podman, "stty -onlcr rows 7; sleep 0.5; stty size; stty -a | grep -o '.onlcr'")
    assert [data.split() for data in shown].count([b"7", b"97", b"-onlcr"]) >= TRIES // 2, shown
