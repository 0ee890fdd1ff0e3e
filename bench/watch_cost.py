"""What it costs to keep process trees: CPU per event and memory per process.

    python bench/watch_cost.py [--forks 20000] [--rounds 5] [--processes 1000] [--audit]

Run it as root, with the package importable (PYTHONPATH=build/stage). The author of the tree wrote
this, and may have missed what makes it look good; the peers do less: forkstat prints lines and
keeps no tree, the plain readers take the messages and look at nothing. tree-proc has the
storm outside all containers; in tree-events it is a container, and a thread takes all its events.
CPU is user and system time
of the watcher alone (wait4), over a storm of forks by a C program, on the same machine; watchers
take turns, and the median of the rounds is printed. Memory is the private dirty memory of the
watcher (/proc/PID/smaps_rollup), with and without `--processes` sleeping processes in a container.
With `--audit` audit is switched on for the rounds that need it: without an audit daemon, each
record also goes to the kernel's log.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import platform
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from conmon.watch import ProcessTree
from conmon.watch.sources.audit_control import NETLINK_AUDIT, AuditControl, calls_of_this_machine
from conmon.watch.sources.proc_connector import ProcConnector
from conmon.watch.tree.events import ContainerInfo

STORM = Path(__file__).resolve().parent.parent / "tests" / "watch" / "storm.c"
_SO_RCVBUFFORCE = 33
_BUFFER = 8 << 20


class NoSink:
    """Takes the proc connector's events and drops them."""

    def drop(self, *_: int) -> None:
        """Do nothing."""

    fork = exec = exit = thread_fork = thread_exit = drop


class Ended(Exception):
    """SIGTERM came."""


def end(*_: object) -> None:
    """What SIGTERM does."""
    raise Ended


def wait_readable(fd: int) -> None:
    """Sleep until there is something to read."""
    select.select([fd], [], [])


def watch_tree(source: str, init: int, *, consume: bool = False) -> None:
    """Child: keep the tree, with process `init` as a container where it is not 0."""
    with ProcessTree(source, state_roots=[]) as tree:
        if init:
            tree.add_container(ContainerInfo("box", init))
        if consume:
            consumer = threading.Thread(target=lambda: collections.deque(tree.events(), 0))
            consumer.start()
        ready()
        try:
            signal.pause()
        except Ended:
            stats = tree.stats()
            report(stats.received, stats.lost + stats.dropped, stats.members)


def watch_plain_proc() -> None:
    """Child: read the proc connector, and count."""
    connector, sink = ProcConnector(_BUFFER), NoSink()
    ready()
    try:
        while True:
            wait_readable(connector.fileno())
            connector.drain(sink)
    except Ended:
        report(connector.received, connector.lost, 0)


def watch_plain_audit() -> None:
    """Child: read audit's records, and count."""
    reader = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
    reader.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    reader.bind((0, 1))
    received, buffer = 0, bytearray(16384)
    ready()
    try:
        while True:
            reader.recv_into(buffer)
            received += 1
    except Ended:
        report(received, 0, 0)


def ready() -> None:
    """Tell the parent that the watching begins, and the CPU seconds until here."""
    signal.signal(signal.SIGTERM, end)
    print(json.dumps({"cpu": time.process_time()}), flush=True)


def report(received: int, lost: int, members: int) -> None:
    """Tell the parent what was seen."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(json.dumps({"received": received, "lost": lost, "members": members}), flush=True)


class Watcher:
    """A watcher at work in a process of its own."""

    def __init__(self, kind: str, init: int = 0) -> None:
        if kind == "forkstat":
            # Line buffered, as whoever reads its output live would have it.
            self._out = tempfile.TemporaryFile()  # noqa: SIM115
            self._process = subprocess.Popen(
                ["forkstat", "-l", "-e", "fork,exec,exit"], stdout=self._out
            )
            time.sleep(1)  # it does not say when it listens
            self._base = 0.0
            return
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child", kind, "--init", str(init)],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        self._base = json.loads(self._process.stdout.readline())["cpu"]

    def private_dirty_kb(self) -> int:
        """Memory of its own."""
        text = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if "Private_Dirty" in line)

    def finish(self) -> dict[str, float]:
        """End it: CPU seconds since it was ready, messages received, lost, members."""
        self._process.send_signal(signal.SIGINT if self._process.stdout is None else signal.SIGTERM)
        if self._process.stdout is None:
            told = {"received": 0, "lost": 0, "members": 0}
        else:
            told = json.loads(self._process.stdout.readline())
            self._process.stdout.close()
        _, _, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = 0
        if self._process.stdout is None:
            self._out.seek(0)
            told["received"] = sum(1 for line in self._out if line[:1].isdigit())
            self._out.close()
        return {"cpu": usage.ru_utime + usage.ru_stime - self._base, **told}


@contextlib.contextmanager
def audited(wanted: bool) -> Iterator[None]:
    """Audit's rules, for a reader that has none of its own."""
    if not wanted:
        yield
        return
    control = AuditControl()
    control.acquire(calls_of_this_machine())
    try:
        yield
    finally:
        control.close()


def storm_round(kind: str, storm: Path, forks: int) -> dict[str, float]:
    """One storm under one watcher."""
    with audited(kind == "plain-audit"):
        box = subprocess.Popen(
            ["/bin/sh", "-c", f"read go; exec {storm} {forks}"], stdin=subprocess.PIPE
        )
        watcher = Watcher(kind, box.pid if kind == "tree-events" else 0)
        began = time.monotonic()
        box.communicate()
        seconds = time.monotonic() - began
        time.sleep(0.5)  # audit's records come late
        result = watcher.finish()
    return result | {"seconds": seconds}


def storms(kinds: list[str], forks: int, rounds: int, storm: Path) -> None:
    """All storms, watchers in turn, and the table of their medians."""
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            found[kind].append(storm_round(kind, storm, forks))
    print(f"\n{forks} forks, {rounds} rounds; medians (least to most)")
    print("watcher      CPU us/fork           CPU s   messages   lost   storm s")
    for kind, results in found.items():
        per_fork = [result["cpu"] / forks * 1e6 for result in results]

        def median(name: str, results: list[dict[str, float]] = results) -> float:
            return statistics.median(result[name] for result in results)

        print(
            f"{kind:12} {statistics.median(per_fork):5.1f} "
            f"({min(per_fork):.1f} to {max(per_fork):.1f})".ljust(34)
            + f"{median('cpu'):6.2f} {median('received'):10.0f} {median('lost'):6.0f} "
            f"{median('seconds'):9.2f}"
        )


def memory(kind: str, processes: int) -> None:
    """What a watcher takes, and what more with many processes in a container."""
    script = f"i=0; while [ $i -lt {processes} ]; do sleep 1000 & i=$((i+1)); done; echo; wait"
    box = subprocess.Popen(
        ["/bin/sh", "-c", "read go; " + script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert box.stdin and box.stdout
    try:
        watcher = Watcher(kind, 0 if kind == "forkstat" else box.pid)
        before = watcher.private_dirty_kb()
        box.stdin.write(b"\n")
        box.stdin.flush()
        box.stdout.readline()
        time.sleep(0.5)
        after = watcher.private_dirty_kb()
        watcher.finish()
        print(
            f"{kind:12} {before} kB, with {processes} processes more {after} kB: "
            f"{(after - before) * 1024 / processes:.0f} bytes each"
        )
    finally:
        os.killpg(box.pid, signal.SIGKILL)
        box.communicate()


def main() -> None:
    """Parse the command line; be a watcher, or measure them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--forks", type=int, default=20000, help="forks of a storm")
    parser.add_argument("--rounds", type=int, default=5, help="storms for each watcher")
    parser.add_argument("--processes", type=int, default=1000, help="processes for memory")
    parser.add_argument("--audit", action="store_true", help="also the audit source")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--init", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    children: dict[str, Callable[[], None]] = {
        "tree-proc": lambda: watch_tree("proc", arguments.init),
        "tree-events": lambda: watch_tree("proc", arguments.init, consume=True),
        "tree-audit": lambda: watch_tree("audit", arguments.init),
        "plain-proc": watch_plain_proc,
        "plain-audit": watch_plain_audit,
    }
    if arguments.child:
        children[arguments.child]()
        return
    kinds = ["tree-proc", "tree-events", "plain-proc"]
    if shutil.which("forkstat"):
        kinds.append("forkstat")
    if arguments.audit:
        kinds += ["tree-audit", "plain-audit"]
    print(
        f"Linux {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as directory:
        storm = Path(directory, "storm")
        subprocess.run(["cc", "-O2", "-o", storm, STORM], check=True)
        storms(kinds, arguments.forks, arguments.rounds, storm)
    print("\nprivate dirty memory")
    for kind in kinds:
        if not kind.startswith("plain") and kind != "tree-events":
            memory(kind, arguments.processes)


if __name__ == "__main__":
    main()
