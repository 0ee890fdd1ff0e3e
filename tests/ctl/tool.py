"""conmonctl as people and scripts call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 60

SCRIPT = """\
#!/bin/sh
PYTHONPATH={stage} exec {python} -P -m conmon.ctl "$@"
"""


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """Its output as JSON, an object per line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Tool:
    """conmonctl of this build, as a command in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "conmonctl"
        self.path.write_text(SCRIPT.format(stage=TOP / "build" / "stage", python=sys.executable))
        self.path.chmod(0o755)

    def environment(self, **changes: str) -> dict[str, str]:
        """Variables for a shell that finds it; a terminal that can show everything."""
        left_out = ("PYTEST", "PYTHON", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CONMONCTL")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
        path = f"{self.directory}:{kept['PATH']}"
        return {**kept, "PATH": path, "LC_ALL": "C.UTF-8", "TZ": "UTC", **changes}

    def __call__(self, *args: str, code: int = 0, stdin: str = "", **environment: str) -> Done:
        """Run it to its end, in pipes, and assert its exit status."""
        done = subprocess.run(
            [self.path, *args],
            input=stdin.encode(),
            capture_output=True,
            env=self.environment(**environment),
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == code, (args, done)
        # by hand, so that no carriage return is taken for a newline
        out, err = (text.decode(errors="surrogateescape") for text in (done.stdout, done.stderr))
        return Done(done.returncode, out, err)

    @staticmethod
    def parse(out: bytes) -> list[Any]:
        """JSON, an object per line."""
        return [json.loads(line) for line in out.splitlines()]

    @contextmanager
    def start(
        self, *args: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run it beside the test; streams that are pipes are unbuffered."""
        with subprocess.Popen(
            [self.path, *args],
            bufsize=0,
            env=self.environment(),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()


def read_lines(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    """The next lines of its output; fewer at the end. Whoever is silent for too long is killed."""
    assert process.stdout is not None
    found: list[bytes] = []
    limit = threading.Timer(TIMEOUT_S, process.kill)
    limit.start()
    try:
        while len(found) < count and (line := process.stdout.readline()):
            found.append(line)
    finally:
        limit.cancel()
    return found
