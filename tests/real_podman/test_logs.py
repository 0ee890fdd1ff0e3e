"""The k8s-file log of detached containers, and podman logs."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from . import crilog
from .bed import IMAGE
from .client import PATH, Gate, Podman


def test_log_and_logs(podman: Podman) -> None:
    """C8.1, C8.2: each line is one full record of its stream, stamped while the container ran."""
    before = time.time_ns()
    name = podman.sh("for i in 1 2 3; do echo out $i; echo err $i >&2; done; exit 5")
    assert podman.wait(name) == 5
    after = time.time_ns()
    records = podman.log(name)
    lines = crilog.lines(records)
    out = [("stdout", b"out %d" % i) for i in (1, 2, 3)]
    err = [("stderr", b"err %d" % i) for i in (1, 2, 3)]
    assert [line for line in lines if line[0] == "stdout"] == out
    assert [line for line in lines if line[0] == "stderr"] == err
    assert len(lines) == 6
    times = [r.time_ns for r in records]
    assert times == sorted(times)
    assert before <= times[0] and times[-1] <= after
    shown = podman("logs", name)
    assert shown.out == b"out 1\nout 2\nout 3\n"
    assert shown.err == b"err 1\nerr 2\nerr 3\n"


def test_order_across_streams(podman: Podman) -> None:
    """C8, C12.3: what was written later, on whichever stream, stands later in the log."""
    script = "while read line; do echo out $line; read line; echo err $line >&2; done"
    name = podman.name()
    with podman.start("run", "-i", "--name", name, IMAGE, "sh", "-c", script) as process:
        assert process.stdin and process.stdout and process.stderr
        expected = []
        for i in range(0, 20, 2):
            # The next line is asked for when the last one has arrived: the log has it then.
            process.stdin.write(b"%d\n" % i)
            process.stdin.flush()
            assert process.stdout.readline() == b"out %d\n" % i
            process.stdin.write(b"%d\n" % (i + 1))
            process.stdin.flush()
            assert process.stderr.readline() == b"err %d\n" % (i + 1)
            expected += [("stdout", b"out %d" % i), ("stderr", b"err %d" % (i + 1))]
        process.stdin.close()
        assert process.wait(timeout=30) == 0
    assert crilog.lines(podman.log(name)) == expected


def test_log_of_a_running_container(podman: Podman, shared: Path, gate: Callable[[], Gate]) -> None:
    """C8.2: an unfinished line is in the log at once, as P, and its rest follows as F."""
    one, two = gate(), gate()
    script = (
        f"printf 'first '; read x < /shared/{one.path.name}; "
        f"echo second; read x < /shared/{two.path.name}; printf last"
    )
    name = podman.sh(script, "-v", f"{shared}:/shared")
    first = podman.wait_log(name, lambda records: len(records) == 1)
    assert [(r.tag, r.data) for r in first] == [("P", b"first ")]
    one.open()
    podman.wait_log(name, lambda records: len(records) == 2)
    two.open()
    assert podman.wait(name) == 0
    pieces = [(r.tag, r.data) for r in podman.log(name)]
    assert pieces == [("P", b"first "), ("F", b"second"), ("P", b"last")]
    assert podman("logs", name).out.rstrip(b"\n") == b"first second\nlast"


def test_logs_follow(podman: Podman, shared: Path, gate: Callable[[], Gate]) -> None:
    """C8: logs -f shows what is there and what comes, and ends with the container."""
    go = gate()
    script = f"echo first; read x < /shared/{go.path.name}; seq 1000; echo bye >&2; exit 3"
    name = podman.sh(script, "-v", f"{shared}:/shared")
    with podman.start("logs", "-f", name) as follower:
        assert follower.stdout
        assert follower.stdout.readline() == b"first\n"
        podman.wait_for_follower()
        go.open()
        out, err = follower.communicate(timeout=30)
        assert follower.returncode == 0
    assert out == b"".join(b"%d\n" % i for i in range(1, 1001))
    assert err == b"bye\n"
    assert podman.wait(name) == 3


def test_logs_tail_and_since(podman: Podman) -> None:
    """C8.1, D1: podman finds its way in the log by count and by time stamp."""
    name = podman.sh("seq 100")
    podman.wait(name)
    assert podman("logs", "--tail", "2", name).out == b"99\n100\n"
    assert podman("logs", "--since", "1h", name).out == b"".join(b"%d\n" % i for i in range(1, 101))
    assert podman("logs", "--until", "2001-01-01T00:00:00Z", name).out == b""
    stamped = podman("logs", "--timestamps", name).out.splitlines()
    assert [line.split(b" ")[1] for line in stamped] == [b"%d" % i for i in range(1, 101)]


@pytest.mark.parametrize(("zone", "offset"), [("UTC0", "+00:00"), ("TST-5:45", "+05:45")])
def test_time_zone(podman: Podman, zone: str, offset: str) -> None:
    """C8.1: time stamps are in the caller's zone; UTC is written +00:00."""
    before = time.time_ns()
    name = podman.name()
    # podman 4.3 hands no TZ of its own environment on to conmon.
    config = podman.config(f'conmon_env_vars = ["PATH={PATH}", "TZ={zone}"]')
    podman("run", "--name", name, IMAGE, "echo", "x", env=config)
    (record,) = podman.log(name)
    assert record.offset == offset
    assert before <= record.time_ns <= time.time_ns()


def test_large_log_through_podman_logs(podman: Podman, shared: Path) -> None:
    """C8.2: podman joins the partial records of long lines to what the container wrote."""
    rng = random.Random(3)
    words = ["x" * rng.choice((0, 1, 50, 8191, 8192, 8193, 40_000)) for _ in range(60)]
    data = "".join(f"{i} {word}\n" for i, word in enumerate(words)).encode()
    podman.give_file(shared / "data", data)
    name = podman.sh("cat /shared/data", "-v", f"{shared}:/shared")
    assert podman.wait(name) == 0
    assert crilog.joined(podman.log(name), "stdout") == data
    assert podman("logs", name).out == data


def test_max_size(podman: Podman) -> None:
    """C10: the log never exceeds max-size; what it holds is the end of the output."""
    name = podman.name()
    podman(
        *("run", "--name", name, "--log-opt", "max-size=10kb"),
        *(IMAGE, "sh", "-c", "seq 2000; echo last"),
    )
    path = podman.log_path(name)
    assert 0 < path.stat().st_size <= 10 * 1024
    kept = crilog.joined(podman.log(name), "stdout")
    written = b"".join(b"%d\n" % i for i in range(1, 2001)) + b"last\n"
    assert written.endswith(kept) and kept.endswith(b"last\n")
    assert sorted(p.name for p in path.parent.glob(f"{path.name}*")) == [path.name]
    assert podman("logs", "--tail", "1", name).out == b"last\n"


def test_restarted_container_appends(podman: Podman) -> None:
    """C4.2: the next start of a container adds to its log."""
    name = podman.sh("echo once")
    podman.wait(name)
    podman("start", name)
    podman.wait(name)
    assert crilog.lines(podman.log(name)) == [("stdout", b"once")] * 2


@pytest.mark.ours("2.1.6 creates it with mode 0600; 2.2.1 does as this test says")
def test_log_mode(podman: Podman) -> None:
    """C7: the log is for its owner and group alone."""
    name = podman.sh("echo x")
    podman.wait(name)
    assert podman.log_path(name).stat().st_mode & 0o777 == 0o640


def test_log_driver_none_has_no_log(podman: Podman) -> None:
    """C9: with the driver none no file is written."""
    name = podman.sh("echo x", "--log-driver", "none")
    assert podman.wait(name) == 0
    assert not list(podman.bundle(name).glob("ctr.log*"))
